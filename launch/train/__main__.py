"""Trains one architecture alone: from a line of integers to a network with its accuracy.

    python -m launch.train --config=configs/cifar_train.py --arch=naonet_v2
    python -m launch.train --config=configs/cifar_train.py --arch=runs/cifar
    python -m launch.train --config=configs/cifar_train.py --arch=runs/quick
    python -m launch.train --config=configs/cifar_train.py --arch="1 1 0 1 2 4 …"
    python -m launch.train --config=configs/imagenet_train.py:8 --arch=runs/cifar

Flags:
  --config=FILE[:VARIANT]   the recipe; its fields are explained in the file
  --config.FIELD=VALUE      changes one of its fields
  --arch=NAME|TEXT|PATH     the architecture: a published name, its text form, a file that holds it,
                            or the folder of a search, whose best it then is; the space is then that
                            of the search, and so are images and network if the config names another
                            data set. Fields on the command line win; what is taken is printed
  --workdir=FOLDER          where results go; runs/NAME by default
  --restart                 sets an earlier training in that folder aside and begins anew
  --coordinator=HOST:PORT --processes=N --process=I
                            one of N processes, as in launch.search

The same command goes on with a training that was broken off; SIGTERM and Ctrl-C keep it first.

The folder receives result.json (the architecture, its cost, accuracies on the validation and, once
at the end, the test images), metrics.jsonl, training.png, config.json, and checkpoints: the newest
two and the best on the validation images.
"""

import sys

from absl import flags

from launch import command
from launch.run import flags as run_flags

ARCH = flags.DEFINE_string("arch", None, "Architecture: a name, its text, a file or a search.")


def main():
    """Trains as the flags describe."""
    config = command.required(command.CONFIG, "configs/cifar_train.py")
    text = command.required(ARCH, "naonet_v2")
    from launch.config import plan
    from launch.inputs import architectures
    from launch.train import job as train_job
    from launch.train.taken import take

    plan.read(config, "train", own=True)
    if architectures.is_folder(text):
        taken = take(config, text, command.given_fields())
        if taken and not run_flags.PROCESS.value:
            values = ", ".join(f"{name}={value!r}" for name, value in taken.items())
            print(f"From {text}: {values}", flush=True)
    config.arch = architectures.named(plan.read(config, "train", own=True), text)
    return run_flags.run_job(train_job.run, config, "train")


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))

"""Writes a trained network so that others can use it without this package.

    python -m launch.export --workdir=runs/cifar_train --out=network
    python -m launch.export --workdir=runs/cifar_train --out=network --batch_sizes=any,1,256

Flags:
  --workdir=FOLDER          of launch.train
  --out=FOLDER              where to write; must not hold anything yet
  --checkpoint=best|newest  best: on the validation images of the training, the newest if it had
                            none
  --batch_sizes=N,N         a program for each; "any" is one for all sizes
  --platforms=NAME,NAME     what the programs run on: cpu, cuda, tpu, rocm
  --average=True|False      whether to take the running mean of the weights, if there is one
  --code=PLACE              of a space that is a module of your own, FILE.py:CLASS or
                            package.module:CLASS: a folder's word alone runs no code

The folder receives architecture.json (its text form, space, cost, image form), weights.safetensors,
network_any.stablehlo and so on (programs from weights and images uint8[B, H, W, C] to logits), and
README.md with five lines that load and run each.
"""

import sys

from absl import flags

from launch import command

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the training.")
OUT = flags.DEFINE_string("out", None, "Folder to write.")
CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "newest"], "Which checkpoint.")
BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["any"], "Batch sizes, or any.")
PLATFORMS = flags.DEFINE_list("platforms", ["cpu", "cuda", "tpu"], "Platforms of the programs.")
AVERAGE = flags.DEFINE_bool("average", True, "Whether to take the running mean of the weights.")
CODE = flags.DEFINE_string("code", "", "Place of the folder's space, where that is code.")


def main():
    """Writes as the flags describe."""
    folder = command.required(WORKDIR, "runs/cifar_train")
    out = command.required(OUT, "network")
    from launch.export import bundle

    bundle.export(
        *(folder, out),
        checkpoint=CHECKPOINT.value,
        batch_sizes=BATCH_SIZES.value,
        platforms=PLATFORMS.value,
        average=AVERAGE.value,
        code=CODE.value,
    )


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))

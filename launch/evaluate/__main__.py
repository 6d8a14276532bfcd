"""Measures the accuracy of trained weights.

    python -m launch.evaluate --workdir=runs/cifar_train
    python -m launch.evaluate --workdir=runs/cifar_train --split=valid --checkpoint=newest
    python -m launch.evaluate --workdir=runs/cifar --arch=runs/cifar --split=valid

Flags:
  --workdir=FOLDER          of launch.train; or of launch.search, whose shared weights are measured
                            along the path of --arch
  --checkpoint=best|newest  best: on the validation images of the training, the newest if it had
                            none; a search's newest in either case
  --split=test|valid|train  which images; valid and train as the job divided them
  --statistics=stored|batch what the norms use: the running statistics of the training, or those of
                            each batch; a supernet has none stored
  --batch_size=N            images at once, 500 by default, of ImageNet as many as were trained on;
                            with batch statistics it matters
  --average=True|False      whether to use the running mean of the weights, if there is one
  --arch=NAME|TEXT|PATH     as in launch.train; only for the folder of a search
  --data_dir=FOLDER --path=FILE
                            where the images are now, if not where the job found them
  --code=PLACE              of a space that is a module of your own, FILE.py:CLASS or
                            package.module:CLASS: a folder's word alone runs no code

Prints one JSON object: top1, top5 and loss (nats), images, top1_of_class, and what was measured; a
table for reading goes to standard error.
"""

import json
import sys

from absl import flags

from launch import command

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the training or the search.")
CHECKPOINT = flags.DEFINE_enum("checkpoint", "best", ["best", "newest"], "Which checkpoint.")
SPLIT = flags.DEFINE_enum("split", "test", ["test", "valid", "train"], "Which images.")
STATISTICS = flags.DEFINE_enum("statistics", None, ["stored", "batch"], "What the norms use.")
BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "Images at once.", lower_bound=1)
AVERAGE = flags.DEFINE_bool("average", True, "Whether to use the running mean of the weights.")
ARCH = flags.DEFINE_string("arch", None, "Architecture, for the folder of a search.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "TFDS's folder.")
PATH = flags.DEFINE_string("path", None, "File or folder of images.")
CODE = flags.DEFINE_string("code", "", "Place of the folder's space, where that is code.")


def main():
    """Measures as the flags describe."""
    folder = command.required(WORKDIR, "runs/cifar_train")
    from launch.evaluate import accuracy

    measures = accuracy.evaluate(
        folder,
        checkpoint=CHECKPOINT.value,
        split=SPLIT.value,
        statistics=STATISTICS.value,
        batch_size=BATCH_SIZE.value,
        average=AVERAGE.value,
        arch=ARCH.value,
        data_dir=DATA_DIR.value,
        path=PATH.value,
        code=CODE.value,
    )
    print(accuracy.table(measures), file=sys.stderr)
    print(json.dumps(measures))


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))

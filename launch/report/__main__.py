"""Shows what a search did: one page with its cells, scores, balance, predictor and times.

    python -m launch.report --workdir=runs/cifar
    python -m launch.report --workdir=runs/cifar --compare=runs/nao_ws --compare=runs/random_search

Flags:
  --workdir=FOLDER          the folder of a search: finished, under way, or damaged
  --compare=FOLDER          another search beside it; may be given several times. Those alike but
                            for the seed, and finished, are one row with mean and spread
  --truth=FILE              known accuracies of its architectures, as launch.rank reads them, to
                            say how well the scores rank
  --column=NAME             of that file
  --code=PLACE              of a space that is a module of your own, FILE.py:CLASS or
                            package.module:CLASS: a folder's word alone runs no code, and without it
                            no cells are drawn

The folder receives report.html, which needs no network and opens in any browser, and every picture
as SVG and PNG in report/. A search makes its report at its end, if config.search.report is True.
"""

import sys

from absl import flags

from launch import command

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a search.")
COMPARE = flags.DEFINE_multi_string("compare", [], "Folders of other searches.")
TRUTH = flags.DEFINE_string("truth", None, "File of known accuracies.")
COLUMN = flags.DEFINE_string("column", "cifar10_test_acc_200ep", "Of the file of accuracies.")
CODE = flags.DEFINE_string("code", "", "Place of the folder's space, where that is code.")


def main():
    """Writes the report that the flags describe, and says where."""
    folder = command.required(WORKDIR, "runs/cifar")
    from launch.report import page

    truth = None if TRUTH.value is None else (TRUTH.value, COLUMN.value)
    print(page.report(folder, COMPARE.value, truth, CODE.value))


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))

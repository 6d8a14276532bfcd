"""Compares search strategies on a table of known accuracies.

    python -m launch.compare --config=configs/tabular.py --config.truth=FILE
    python -m launch.compare --config=configs/tabular.py --config.truth=FILE --config.seeds=3

Flags:
  --config=FILE             the experiment; configs/README.md explains its fields
  --config.truth=FILE       known accuracies: CSV, also gzipped, with the columns arch_str and, in
                            percent, DATASET_PART_acc_EPOCHSep
  --config.FIELD=VALUE      changes one of its fields
  --workdir=FOLDER          where results go; runs/NAME by default
  --restart                 sets earlier results in that folder aside and begins anew

The same command goes on with a comparison that was broken off. The folder receives searches.jsonl
(each search: what it had found after every evaluation), comparison.json (medians and quartiles),
regret.png, config.json.
"""

import sys

from launch import command
from launch.run import flags as run_flags


def main():
    """Compares as the flags describe."""
    config = command.required(command.CONFIG, "configs/tabular.py")
    from launch.compare import job as compare_job

    return run_flags.run_job(compare_job.run, config, "comparison")


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))

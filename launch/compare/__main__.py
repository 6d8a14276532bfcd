"""Compares systems by their searches, or strategies on known accuracies.

    python -m launch.compare --config=configs/compare_quickstart.py
    python -m launch.compare --config=configs/compare_quickstart.py --config.seeds=10
    python -m launch.compare --config=configs/tabular.py --config.truth=FILE
    python -m launch.compare --config=configs/teacher.py

The first makes searches of several systems and seeds, each with a supernet of its own and as many
steps, architectures and trained networks as the others; systems are compared by differences of the
same seed. The others train nothing: accuracies are looked up in a table, or made up by a teacher.

Flags:
  --config=FILE             the experiment; configs/README.md explains its fields
  --config.systems.NAME.SECTION.FIELD=VALUE
                            changes what one system has of its own
  --config.truth=FILE       the table: CSV, also gzipped, with the columns arch_str and, in
                            percent, DATASET_PART_acc_EPOCHSep; or teacher:sum, teacher:pairs,
                            teacher:graph
  --config.FIELD=VALUE      changes one of its fields
  --workdir=FOLDER          where results go; runs/NAME by default
  --restart                 sets earlier results in that folder aside and begins anew
  --coordinator=HOST:PORT --processes=N --process=I
                            one of N processes, as of launch.search; a table is the work of one

The same command goes on with a comparison that was broken off. The folder receives comparison.json
(means, intervals, verdicts; of strategies quartiles, too), searches.jsonl (a row a search), a
picture (systems.png; regret.png on a table, found.png on a teacher), config.json, and the folder
NAME-SEED of every search.
"""

import sys

from launch import command
from launch.run import flags as run_flags


def main():
    """Compares as the flags describe."""
    config = command.required(command.CONFIG, "configs/compare_quickstart.py")
    from launch.compare import systems, table

    def job(plan, folder, **settings):
        kind = systems if plan.systems else table
        return kind.run(plan, folder, **settings)

    return run_flags.run_job(job, config, "comparison", "systems")


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))

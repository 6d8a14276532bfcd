"""Measures how well shared weights rank architectures whose accuracy is known.

    python -m launch.rank --config=configs/rank_nasbench201.py:smoke --config.truth=FILE
    python -m launch.rank --config=configs/rank_nasbench201.py --config.truth=FILE \\
        --config.supernet.sampler=proportional --workdir=runs/rank_proportional
    python -m launch.rank --config=configs/rank_study.py:smoke

Flags:
  --config=FILE[:VARIANT]   the experiment; configs/README.md explains its fields
  --config.truth=FILE       known accuracies: CSV, also gzipped, with the columns arch_str and, in
                            percent, DATASET_PART_acc_EPOCHSep
  --config.FIELD=VALUE      changes one of its fields
  --workdir=FOLDER          where results go; runs/NAME by default
  --restart                 sets earlier results in that folder aside and begins anew
  --coordinator=HOST:PORT --processes=N --process=I
                            one of N processes, as in launch.search

The first two train `seeds` supernets one after the other, score the architectures with each, and
compare. The same command goes on with a run that was broken off.

The folder receives ranking.json (Kendall's tau b, Spearman, pairwise accuracy and more, means and
standard errors over the supernets, for each kind of score and for the baselines params and macs;
how the training was divided among the options of each decision),
scores.jsonl (every architecture), pictures as PNG, metrics.jsonl, config.json, checkpoints.

The third trains architectures alone, unless a truth is given, and then supernets of several lengths
and samplers on few architectures; its tables are printed and in study.json.
"""

import sys

from launch import command
from launch.run import flags as run_flags


def main():
    """Ranks as the flags describe."""
    config = command.required(command.CONFIG, "configs/rank_nasbench201.py")
    from launch.config import schema
    from launch.rank import job as rank_job
    from launch.rank import study

    job = study if schema.job_of(config) == "study" else rank_job
    return run_flags.run_job(job.run, config, "rank", "study")


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))

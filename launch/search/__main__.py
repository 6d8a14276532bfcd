"""Searches for an architecture.

    python -m launch.search --config=configs/quickstart.py
    python -m launch.search --config=configs/cifar.py --workdir=runs/cifar
    python -m launch.search --config=configs/cifar.py:smoke --config.search.rounds=2

Flags:
  --config=FILE[:VARIANT]   the experiment; configs/README.md explains its fields
  --config.FIELD=VALUE      changes one of its fields
  --workdir=FOLDER          where results go; runs/NAME by default
  --restart                 sets an earlier search in that folder aside and begins anew
  --coordinator=HOST:PORT --processes=N --process=I
                            one of N processes, say I = 0 on HOST; not needed on a TPU pod, under
                            Slurm or Kubernetes, where jax finds them out
  --patience=SECONDS        how long they wait for each other at the start, 300 by default; one
                            that is silent for a third of it is given up

Several processes are one search, over all their devices; process 0 alone writes files.

A terminal shows phase, rate, time left and the best so far; a pipe receives a line every half
minute. The same command goes on with a search that was broken off, from its last checkpoint.
SIGTERM and Ctrl-C keep it and end it (Ctrl-C twice: at once).

The folder receives pool.jsonl (every architecture with its cost, round, score, accuracy, loss and
how often it was trained), baseline.jsonl (found and random architectures that
were trained alone to be compared), result.json (the best,
seeds, versions, seconds per phase), network.json (what its weights need, for
bnao_jax.saved), metrics.jsonl, config.json, machine.json, checkpoints (the
newest two, and that of the most accurate best), and report.html, which shows it.
"""

import sys

from launch import command
from launch.run import flags as run_flags


def main():
    """Runs the search that the flags describe."""
    config = command.required(command.CONFIG, "configs/quickstart.py")
    from launch.search import job as search_job

    return run_flags.run_job(search_job.run, config, "search")


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))

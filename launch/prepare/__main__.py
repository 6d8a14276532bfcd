"""Fetches the data set of a config beforehand, and says what it holds.

    python -m launch.prepare --config=configs/cifar.py
    python -m launch.prepare --config=configs/cifar.py --config.data.data_dir=/shared/data

Flags:
  --config=FILE[:VARIANT]   the experiment that will use the data
  --config.FIELD=VALUE      changes one of its fields: config.data.name, data_dir, path

Jobs fetch what they need themselves; this is for machines that compute without a network, and for
folders that many machines share. A download that broke off goes on. What is there is read and
checked, as a job would do it. ImageNet is downloaded by hand: the command says how.
"""

import sys

from launch import command


def main():
    """Prepares the data set that the flags name."""
    config = command.required(command.CONFIG, "configs/cifar.py")
    from launch.config.plan import read
    from launch.prepare import job

    job.run(read(config))


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))

"""Balanced NAO on the embedded data set, 1,797 scanned digits: the whole loop in minutes.

    python -m launch.search --config=configs/quickstart.py --workdir=runs/quickstart

No download, two CPU cores, under five minutes from a cold start, compilation included. The same
algorithm as configs/cifar.py on 8x8 images: small cells, few rounds, short training.
"""

from configs import cifar


def get_config():
    """A search on scanned digits."""
    config = cifar.get_config()
    data = config.data
    data.name = "digits"
    data.train_examples, data.valid_examples = 1_200, 300
    data.flip, data.pad = False, 1

    # Three nodes a cell, not five: every final network is a program of its own to compile.
    config.space.nodes = 3
    config.network.channels, config.network.cells = 8, 1

    config.supernet.epochs, config.supernet.learning_rate = 40, 0.05
    config.scoring.batch_size, config.scoring.per_dispatch = 100, 16

    config.search.initial, config.search.rounds, config.search.proposals = 100, 3, 40
    config.search.random_baseline = 40
    config.nao.parents, config.nao.epochs, config.nao.exchanges = 40, 20, 4
    config.final.top, config.final.epochs, config.final.auxiliary = 2, 10, False
    return config

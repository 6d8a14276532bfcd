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
    data.train_examples, data.valid_examples = 1_200, 297  # as many as judge: one program
    data.flip, data.pad = False, 1

    config.space.nodes = 3
    config.network.channels, config.network.cells = 8, 1

    config.supernet.epochs, config.supernet.learning_rate = 30, 0.05
    config.scoring.batch_size, config.scoring.per_dispatch = 100, 16

    config.search.initial, config.search.rounds, config.search.proposals = 100, 3, 40
    config.random_baseline.epochs = config.supernet.epochs  # the same compiled program
    config.nao.steps = 150
    config.final.top, config.final.auxiliary = 0, False
    return config

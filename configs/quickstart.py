"""Balanced NAO on the embedded data set, 1,797 scanned digits: the whole loop in minutes.

    python -m launch.search --config=configs/quickstart.py --workdir=runs/quickstart

No download, two CPU cores, in two or three minutes from a cold start, compilation included. The
algorithm of configs/cifar.py on 8x8 images, in the space of NAS-Bench-201, one cell a stage. The
networks learn from 100 labelled digits: with all 1,200 every network of the space reaches 95 %, and
there is little to find.
"""

from configs import cifar


def get_config():
    """A search on scanned digits."""
    config = cifar.get_config()
    data = config.data
    data.name = "digits"
    data.train_examples, data.valid_examples = 100, 297  # as many as judge: one program
    data.flip, data.pad = False, 1

    config.space.name = "nasbench201"
    config.network.channels, config.network.cells = 8, 1

    supernet = config.supernet
    supernet.epochs, supernet.batch_size, supernet.learning_rate = 180, 32, 0.05
    supernet.drop_path_keep = config.final.drop_path_keep = 1.0
    config.scoring.batch_size, config.scoring.per_dispatch = 100, 16

    config.search.initial, config.search.rounds, config.search.proposals = 100, 3, 40
    config.random_baseline.networks, config.random_baseline.epochs = 20, 60
    config.nao.steps = 150
    config.final.top, config.final.auxiliary = 0, False
    return config

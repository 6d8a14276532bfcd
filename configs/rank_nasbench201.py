"""How well shared weights rank NAS-Bench-201, whose true accuracies are known.

Dong, Yang, "NAS-Bench-201", 2020, https://arxiv.org/abs/2001.00326: one supernet with uniformly
drawn paths, its 25,000 images of CIFAR-10 to train on and 25,000 to score with; the truth is the
test accuracy after 200 epochs.

    python -m launch.rank --config=configs/rank_nasbench201.py --config.truth=FILE

FILE is a CSV file (also gzipped) with the columns `arch_str` and `cifar10_test_acc_200ep`, in
percent; nobody offers it for download in that form, and it can be written from NATS-Bench's files.
250 epochs are 97,500 steps a supernet. `configs/rank_nasbench201.py:smoke` takes minutes on two CPU
cores: narrow cells, small images, few steps and few architectures.

Vary it from the command line, for example

    --config.supernet.sampler=proportional --config.supernet.size_exponent=2
    --config.supernet.sampler=stratified       each depth as often as the others
    --config.supernet.sampler=strictly_fair    every operation of every edge in each step, which
                                               costs five times as much (FairNAS)
    --config.supernet.schedule=complexity      CaLR; complexity_mean is its control
    --config.supernet.separate_momentum=True   a momentum for each operation of one edge
"""

from ml_collections import ConfigDict

from configs import cifar


def get_config(variant: str = "") -> ConfigDict:
    """The protocol of the benchmark; variant "smoke" for minutes on two CPU cores."""
    config = cifar.get_config()
    config.job = "rank"
    del config.search, config.nao, config.evolution, config.bonas, config.final
    del config.random_baseline
    config.seeds = 3
    config.truth = ""

    config.data.split = "nasbench201"
    config.data.train_examples, config.data.valid_examples = 25_000, 25_000
    config.space.name = "nasbench201"
    config.network.channels, config.network.cells = 16, 5

    supernet = config.supernet
    supernet.epochs, supernet.sampler = 250, "uniform"
    supernet.learning_rate, supernet.learning_rate_end = 0.025, 0.001
    supernet.nesterov, supernet.weight_decay = True, 5e-4
    supernet.drop_path_keep = 1.0

    config.scoring.images, config.scoring.batch_size = 1_000, 500
    config.scoring.per_dispatch, config.scoring.score = 64, "loss"  # whose figures stand on top

    config.rank = rank = ConfigDict()
    rank.column = "cifar10_test_acc_200ep"
    rank.architectures = 0
    rank.points = 5
    rank.point_architectures = 500

    if variant == "smoke":
        return _smoke(config)
    if variant:
        raise ValueError(f"variant {variant!r} of configs/rank_nasbench201.py is not 'smoke'")
    return config


def _smoke(config):
    config.seeds = 2
    config.data.train_examples, config.data.valid_examples = 12_800, 1_000
    config.data.shrink, config.data.pad = 2, 2
    config.network.channels, config.network.cells = 4, 1
    config.supernet.epochs, config.supernet.learning_rate = 10, 0.2
    config.scoring.images, config.scoring.batch_size = 1_000, 250
    config.rank.architectures, config.rank.points = 500, 4
    config.rank.point_architectures = 200
    return config

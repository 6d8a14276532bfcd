"""SPOS: single paths drawn uniformly, one supernet, then a search by its scores.

Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", 2019,
https://arxiv.org/abs/1904.00420. Blocks of ShuffleNetV2; the supernet is trained once, along paths
of the whole space; candidates within a limit are scored with batch statistics estimated anew for
each; the best is trained alone with the same recipe.

    python -m launch.search --config=configs/spos.py:cifar --workdir=runs/spos
    python -m launch.search --config=configs/spos.py:smoke

Without a variant it has the paper's numbers for ImageNet: 150,250 steps of 1,024 images, 1,000
candidates on 50,000 images held out of the train split, 300,500 steps alone. The paper reports
74.3 % top-1 at 319 M multiply-adds, with the choice of channels 74.7 % at 328 M. `cifar` has
numbers of our own for CIFAR-10 by the same rules; `smoke` walks the same way in minutes on two CPU
cores.

Vary it from the command line, for example

    --config.space.channel_choice=True         the widths inside the blocks are searched, too
    --config.supernet.sampler=whole_space      paths of any size
    --config.search.max_params=3500000         another limit
"""

from ml_collections import ConfigDict

from configs import cifar


def get_config(variant: str = "") -> ConfigDict:
    """The paper's search on ImageNet; variants "cifar" and "smoke" on CIFAR-10."""
    config = cifar.get_config()
    # ImageNet as one's own file of images uint8 [N, 224, 224, 3], all in memory.
    config.data.name, config.data.path = "arrays", ""
    config.data.train_examples, config.data.valid_examples = 0, 50_000
    config.data.pad = 16

    config.space.name = "shufflenet"
    config.network.channels, config.network.cells = 16, 4  # widths 64 to 640; 4, 4, 8, 4 blocks
    config.network.stem = "imagenet"

    supernet = config.supernet
    supernet.epochs, supernet.batch_size = 125, 1_024
    supernet.sampler = "constrained"
    supernet.macs_least, supernet.macs_most = 290_000_000, 360_000_000
    supernet.macs_step = 10_000_000
    supernet.drop_path_keep = 1.0
    _recipe(supernet)

    scoring = config.scoring
    scoring.batch_size = 200
    scoring.statistics, scoring.calibration_images = "estimated", 20_000

    search = config.search
    # A round is a generation: 25 mutants and 25 crossed of the 10 best.
    search.strategy = "evolution"
    search.initial, search.rounds, search.proposals = 50, 20, 50
    search.trained_rounds = 1
    search.max_macs = 330_000_000

    final = config.final
    final.top, final.epochs, final.batch_size = 1, 250, 1_024
    final.dropout, final.drop_path_keep, final.auxiliary = 0.1, 1.0, False
    _recipe(final)

    if variant in ("cifar", "smoke"):
        _cifar(config)
    if variant == "smoke":
        _smoke(config)
    if variant not in ("", "cifar", "smoke"):
        raise ValueError(f"variant {variant!r} of configs/spos.py is not 'cifar' or 'smoke'")
    return config


def _recipe(section):
    """What supernet and final network have in common."""
    section.schedule, section.learning_rate, section.learning_rate_end = "linear", 0.5, 0.0
    section.weight_decay, section.decay_vectors = 4e-5, False
    section.clip, section.label_smoothing = 0.0, 0.1


def _cifar(config):
    config.data.name = "cifar10"
    config.data.train_examples, config.data.valid_examples = 45_000, 5_000
    config.data.pad = 4
    config.network.stem = "cifar"  # maps of 32, 16, 8, 4
    for section in (config.supernet, config.final):
        section.epochs, section.batch_size, section.learning_rate = 200, 128, 0.0625
        section.weight_decay = 3e-4
    config.supernet.sampler = "whole_space"
    config.search.max_macs = 104_000_000


def _smoke(config):
    config.data.train_examples, config.data.valid_examples = 5_120, 500
    config.network.channels, config.network.cells = 4, 1  # widths 16 to 160; 1, 1, 2, 1 blocks
    config.supernet.epochs, config.supernet.batch_size, config.supernet.learning_rate = 20, 64, 0.1
    config.scoring.batch_size, config.scoring.calibration_images = 100, 1_000
    config.supernet.sampler = "constrained"
    config.supernet.macs_least, config.supernet.macs_most = 3_000_000, 4_200_000
    config.supernet.macs_step = 300_000
    config.search.initial, config.search.rounds, config.search.proposals = 10, 4, 10
    config.search.max_macs = 3_600_000
    config.random_baseline.networks = 2
    config.final.epochs, config.final.batch_size = 4, 64

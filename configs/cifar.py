"""Balanced NAO on CIFAR-10.

Luo, Qin, Chen, "Balanced One-shot Neural Architecture Optimization", 2020,
https://arxiv.org/abs/1909.10815, Algorithm 1 and section 5.

    python -m launch.search --config=configs/cifar.py --workdir=runs/cifar

The search is the paper's: 4 rounds of 50 epochs, 140,600 supernet steps of 64 images and 5,800
scorings of 5,000 images. What the controller learns and how it proposes (section `nao`) is what was
found best where the truth is known (launch/compare/README.md); the paper's settings find nothing
better than chance there. Two variants:

    configs/cifar.py:paper     the paper's numbers throughout
    configs/cifar.py:smoke     the same walk with few images, steps and architectures; for seeing
                               that everything works, not for results

Vary it from the command line, for example

    --config.search.max_params=600000          no architecture above 0.6 M parameters
    --config.supernet.batch_norm=sync          batch statistics over all devices
    --config.scoring.score=loss                learns from the validation loss, not the accuracy
    --config.network.dtype=bfloat16            faster on GPU and TPU
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs import cifar_train


def get_config(variant: str = "") -> ConfigDict:
    """The search; variants "paper", and "smoke" for minutes on two CPU cores."""
    config = ConfigDict()
    config.job = "search"
    config.seed = 0
    config.devices = 0
    config.compilation_cache = "~/.cache/bnao_jax"
    config.checkpoint_every_steps = 2_000
    config.checkpoint_every_seconds = 600
    config.tensorboard = False

    config.data = data = ConfigDict()
    data.name = "cifar10"
    data.data_dir = ""
    data.path = ""
    data.train_examples = 45_000
    data.valid_examples = 5_000
    data.split = "random"
    data.shrink = 1
    data.flip = True
    data.pad = 4
    data.cutout = 0

    config.space = space = ConfigDict()
    space.name = "nao"
    space.settings = ""  # of a module of your own: its fields, "width=16, depth=3"
    space.operations = "small"
    space.nodes = 5
    space.channel_choice = False

    config.network = network = ConfigDict()
    network.channels = 20
    network.cells = 3
    network.stem = "cifar"
    network.dtype = "float32"

    config.supernet = supernet = ConfigDict()
    supernet.epochs = 50
    supernet.from_scratch = False
    supernet.batch_size = 64
    supernet.sampler = "proportional"
    supernet.size_exponent = 1.0
    supernet.macs_least = placeholder(int)
    supernet.macs_most = placeholder(int)
    supernet.macs_step = placeholder(int)
    supernet.schedule = "cosine"
    supernet.learning_rate = 0.025
    supernet.learning_rate_end = 0.001
    supernet.rate_decay = 0.97
    supernet.exponent_least = 0.25
    supernet.exponent_most = 4.0
    supernet.momentum = 0.9
    supernet.nesterov = False
    supernet.separate_momentum = False
    supernet.weight_decay = 3e-4
    supernet.decay_vectors = True
    supernet.clip = 5.0
    supernet.label_smoothing = 0.0
    supernet.drop_path_keep = 0.9
    supernet.freeze_off_path = True
    supernet.batch_norm = "local"
    supernet.path_per_device = False

    config.scoring = scoring = ConfigDict()
    scoring.images = 0
    scoring.first_images = 0
    scoring.batch_size = 500
    scoring.dtype = "network"
    scoring.statistics = "batch"
    scoring.calibration_images = 2_000
    scoring.per_dispatch = 8
    scoring.score = "accuracy"
    scoring.size_weight = 1.0

    config.search = search = ConfigDict()
    search.strategy = "nao"
    search.initial = 1_000
    search.rounds = 4
    search.trained_rounds = 0
    search.proposals = 300
    search.max_params = placeholder(int)
    search.max_macs = placeholder(int)
    search.max_cost = placeholder(int)
    search.max_latency = placeholder(float)
    search.latencies = ""
    search.latency_batch = 1
    search.report = True

    config.nao = nao = ConfigDict()
    nao.parents = 10
    nao.exchanges = 0
    nao.unlabelled = 300
    nao.held_out = 0.0
    nao.epochs = 1_000
    nao.steps = 300
    nao.batch_size = 50
    nao.learning_rate = 3e-3
    nao.trade_off = 0.8
    nao.carried = False
    nao.targets = "ranks"
    nao.own_tokens = True
    nao.embedding_scale = 0.1
    nao.step_sizes = 10
    nao.decoded = 0
    nao.passes = 1
    nao.jitter = 0.7
    nao.mutants = 3_000
    nao.mutation_rate = 0.05
    nao.crossed = 0.5
    nao.ranked = True

    config.evolution = evolution = ConfigDict()
    evolution.parents = 10
    evolution.mutants = 0.5
    evolution.mutation_rate = 0.1

    config.bonas = bonas = ConfigDict()
    bonas.epochs = 100
    bonas.batch_size = 128
    bonas.learning_rate = 1e-3
    bonas.exploration = 0.5
    bonas.population = 30
    bonas.tournament = 10
    bonas.generations = 50

    config.random_baseline = baseline = ConfigDict()
    baseline.networks, baseline.epochs, baseline.random = 5, 10, True

    config.final = final = cifar_train.recipe()
    final.top = 5
    final.drop_path_reached = 0.2
    final.epochs, final.batch_size, final.weight_decay = 10, 64, 3e-4

    if variant == "paper":
        return _paper(config)
    if variant == "smoke":
        return _smoke(config)
    if variant:
        raise ValueError(f"variant {variant!r} of configs/cifar.py is not 'paper' or 'smoke'")
    return config


def _paper(config):
    config.supernet.freeze_off_path = False  # decay and momentum move every weight at every step
    nao = config.nao
    nao.parents = 100
    nao.exchanges, nao.unlabelled, nao.held_out = 10, 0, 0.1
    nao.epochs, nao.steps, nao.batch_size, nao.learning_rate = 1_000, 0, 100, 1e-3
    nao.carried = True
    nao.targets, nao.own_tokens, nao.embedding_scale = "range", False, 1.0
    nao.step_sizes, nao.jitter = 50, 0.0
    nao.mutants, nao.ranked = 0, False
    return config


def _smoke(config):
    config.data.train_examples, config.data.valid_examples = 2_560, 256
    config.network.channels, config.network.cells = 8, 1
    config.supernet.epochs = 3
    config.scoring.batch_size = 128
    config.search.initial, config.search.rounds, config.search.proposals = 40, 3, 20
    config.random_baseline.networks, config.random_baseline.epochs = 2, 1
    config.nao.unlabelled, config.nao.steps, config.nao.mutants = 100, 100, 1_000
    config.final.top, config.final.epochs = 2, 1
    return config

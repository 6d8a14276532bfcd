"""One architecture alone on CIFAR-10, with the paper's numbers.

Luo, Qin, Chen, "Balanced One-shot Neural Architecture Optimization", 2020,
https://arxiv.org/abs/1909.10815, section 5: 600 epochs with cutout, drop path, dropout and an
auxiliary head on all 50,000 images; the paper reports 2.60 % test error for its best architecture.

    python -m launch.train --config=configs/cifar_train.py --arch=naonet_v2
    python -m launch.train --config=configs/cifar_train.py --arch=runs/cifar

`configs/cifar_train.py:smoke` trains a narrow network for three epochs, in minutes on two CPU
cores.

Vary it from the command line, for example

    --config.data.name=cifar100
    --config.data.valid_examples=5000          holds images out; the best checkpoint is by them
    --config.train.average_decay=0.9999        evaluates with a running mean of the weights
    --config.warm_start=runs/cifar             begins with a search's shared weights
"""

from ml_collections import ConfigDict


def recipe() -> ConfigDict:
    """How a network is trained alone: the paper's 600 epochs."""
    train = ConfigDict()
    train.epochs = 600
    train.batch_size = 128
    train.schedule = "cosine"
    train.learning_rate = 0.025
    train.learning_rate_end = 0.0
    train.rate_decay = 0.97
    train.momentum = 0.9
    train.nesterov = False
    train.weight_decay = 5e-4
    train.decay_vectors = True
    train.clip = 5.0
    train.label_smoothing = 0.0
    train.dropout = 0.4
    train.drop_path_keep = 0.8
    train.auxiliary = True
    train.average_decay = 0.0
    return train


def get_config(variant: str = "") -> ConfigDict:
    """The paper's recipe; variant "smoke" for minutes on two CPU cores."""
    config = ConfigDict()
    config.job = "train"
    config.seed = 0
    config.devices = 0
    config.compilation_cache = "~/.cache/bnao_jax"
    config.checkpoint_every_steps = 10_000
    config.checkpoint_every_seconds = 600
    config.tensorboard = False
    config.arch = ""
    config.warm_start = ""

    config.data = data = ConfigDict()
    data.name = "cifar10"
    data.data_dir = ""
    data.path = ""
    data.train_examples = 0
    data.valid_examples = 0
    data.split = "random"
    data.shrink = 1
    data.flip = True
    data.pad = 4
    data.cutout = 16

    config.space = space = ConfigDict()
    space.name = "nao"
    space.settings = ""  # of a module of your own: its fields, "width=16, depth=3"
    space.operations = "small"
    space.nodes = 5
    space.channel_choice = False

    config.network = network = ConfigDict()
    network.channels = 36
    network.cells = 6
    network.stem = "cifar"
    network.dtype = "float32"

    config.train = recipe()
    config.train.evaluate_every_epochs = 10

    if variant == "smoke":
        return _smoke(config)
    if variant:
        raise ValueError(f"variant {variant!r} of configs/cifar_train.py is not 'smoke'")
    return config


def _smoke(config):
    config.data.train_examples, config.data.valid_examples = 5_120, 1_000
    config.network.channels, config.network.cells = 8, 1
    config.train.epochs, config.train.batch_size, config.train.evaluate_every_epochs = 3, 64, 1
    return config

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
    train.epochs = 600  # passes over the train images
    train.batch_size = 128  # over all devices
    # cosine to learning_rate_end by the epoch, linear by the step, exponential by rate_decay
    train.schedule = "cosine"
    train.learning_rate = 0.025  # in the first epoch
    train.learning_rate_end = 0.0  # of cosine and linear, at the end
    train.rate_decay = 0.97  # of exponential: factor an epoch
    train.momentum = 0.9  # of SGD
    train.nesterov = False  # Nesterov's momentum
    train.weight_decay = 5e-4  # added to the gradient, times the weight
    train.decay_vectors = True  # weight decay of scales and offsets, too
    train.clip = 5.0  # global norm of the gradient; 0: none
    train.label_smoothing = 0.0  # share of the label spread over all classes
    train.dropout = 0.4  # before the classifier
    train.drop_path_keep = 0.8  # at the last cell and the last step; 1: no drop path
    train.auxiliary = True  # auxiliary head with loss weight 0.4
    train.average_decay = 0.0  # of a running mean of the weights, to evaluate with; 0: none
    return train


def get_config(variant: str = "") -> ConfigDict:
    """The paper's recipe; variant "smoke" for minutes on two CPU cores."""
    config = ConfigDict()
    config.seed = 0  # of all random draws
    config.devices = 0  # devices of each process to use; 0: all
    config.compilation_cache = "~/.cache/bnao_jax"  # folder of compiled programs; "": none
    config.checkpoint_every_steps = 10_000  # training steps between two checkpoints
    config.checkpoint_every_seconds = 600  # the same for time
    config.tensorboard = False  # event files beside metrics.jsonl, with the same figures
    config.arch = ""  # the architecture; --arch sets it
    config.warm_start = ""  # folder of a search whose shared weights it begins with; "": random

    config.data = data = ConfigDict()
    data.name = "cifar10"  # cifar10, cifar100, digits, arrays
    data.data_dir = ""  # where TFDS has prepared it; "": TFDS's default folder
    data.path = ""  # file of name=arrays
    data.train_examples = 0  # images to train on; 0: all but the validation part
    data.valid_examples = 0  # images of the train split held out; 0: none
    # which of them: random, drawn by the seed; nasbench201: of that benchmark's half of cifar10
    data.split = "random"
    data.shrink = 1  # divides the images' sides: each pixel becomes the mean of a square
    data.flip = True  # half of the images, left to right
    data.pad = 4  # pixels before a random crop
    data.cutout = 16  # side of the square cut out, pixels

    config.space = space = ConfigDict()
    space.name = "nao"  # nao, nasbench201, shufflenet
    space.operations = "small"  # of nao: small: 5 operations, middle: 10
    space.nodes = 5  # of nao: B, nodes of a cell
    space.channel_choice = False  # of shufflenet: whether the blocks' widths are searched, too

    config.network = network = ConfigDict()
    network.channels = 36  # C, width of the first stage
    network.cells = 6  # N, (normal) cells a stage
    network.stem = "cifar"  # cifar: full resolution, imagenet: an eighth
    network.dtype = "float32"  # float32, bfloat16; parameters are float32 always

    config.train = recipe()
    config.train.evaluate_every_epochs = 10  # on the validation images, where there are any

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

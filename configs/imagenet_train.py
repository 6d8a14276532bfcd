"""One architecture alone on ImageNet in the mobile setting, with the paper's numbers.

Luo, Qin, Chen, "Balanced One-shot Neural Architecture Optimization", 2020,
https://arxiv.org/abs/1909.10815, section 5: 250 epochs of images of 224x224, below 600 M
multiply-adds; the paper reports 74.4 % top-1.

    python -m launch.train --config=configs/imagenet_train.py --arch=runs/cifar
    python -m launch.train --config=configs/imagenet_train.py:8 --arch=runs/cifar

The second is for 8 devices: as in the paper a batch of 128 and a rate of 0.1 for each. The data is
TFDS's imagenet2012, prepared as array_record (`--config.data.data_dir=FOLDER`), or files:

    --config.data.name=folder --config.data.path=FOLDER    train/CLASS/*.JPEG and val/CLASS/*.JPEG

`configs/imagenet_train.py:smoke` trains a narrow network on a few images from folders, for a minute
or two on two CPU cores.

Vary it from the command line, for example

    --config.network.channels=44               naonet_v2 then is below 600 M multiply-adds
    --config.train.max_macs=None               lifts that limit
    --config.data.valid_examples=10000         holds out train images to choose a checkpoint by
    --config.train.average_decay=0.9999        evaluates with a running mean of the weights
    --config.network.dtype=bfloat16            faster on GPU and TPU
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs import cifar_train


def get_config(variant: str = "") -> ConfigDict:
    """The paper's recipe; the variant is a number of devices, or "smoke"."""
    config = cifar_train.get_config()
    config.checkpoint_every_steps = 5_000

    config.data = data = ConfigDict()
    data.name = "imagenet2012"
    data.data_dir = ""
    data.path = ""
    data.train_examples = 0
    # Images of the train split held out: the best checkpoint is by them, and the validation split
    # is the test, once at the end. 0: none; the validation split takes their place, without a test.
    data.valid_examples = 0
    data.image_size = 224
    data.least_area = 0.08
    data.flip = True
    data.jitter = 0.4
    data.centre = 0.875
    data.workers = 16

    config.network.channels = 48
    config.network.cells = 4
    config.network.stem = "imagenet"

    config.train = train = cifar_train.recipe()
    train.epochs = 250
    train.schedule = "exponential"
    train.learning_rate, train.rate_decay = 0.1, 0.97
    train.weight_decay = 3e-5
    train.label_smoothing = 0.1
    train.dropout, train.drop_path_keep = 0.0, 1.0
    train.evaluate_every_epochs = 1
    train.max_macs = placeholder(int)  # so that None may be given
    train.max_macs = 600_000_000

    if variant == "smoke":
        return _smoke(config)
    if variant:
        if not (variant.isascii() and variant.isdigit() and 0 < int(variant[:6]) < 100_000):
            raise ValueError(
                f"variant {variant!r} of configs/imagenet_train.py is neither 'smoke' nor a number "
                "of devices"
            )
        train.batch_size, train.learning_rate = 128 * int(variant), 0.1 * int(variant)
    return config


def _smoke(config):
    config.data.name, config.data.image_size = "folder", 64
    config.data.valid_examples, config.data.workers = 20, 2
    config.network.channels, config.network.cells = 8, 1
    config.train.epochs, config.train.batch_size, config.train.learning_rate = 10, 20, 0.05
    config.train.evaluate_every_epochs, config.train.auxiliary = 5, False
    return config

"""Random search on CIFAR-10: as configs/cifar.py, but new architectures are drawn at random.

The control for the controller, at the same budget of training and scoring.

    python -m launch.search --config=configs/random_search.py --workdir=runs/random_search
"""

from configs import cifar


def get_config(variant: str = ""):
    """The random search; variant "smoke" as in configs/cifar.py."""
    config = cifar.get_config(variant)
    config.search.strategy = "random"
    return config

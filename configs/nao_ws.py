"""NAO-WS on CIFAR-10: as configs/cifar.py, but paths are sampled uniformly.

The control for the balance: Luo, Qin, Chen, 2020, https://arxiv.org/abs/1909.10815, Table 7.

    python -m launch.search --config=configs/nao_ws.py --workdir=runs/nao_ws
"""

from configs import cifar


def get_config(variant: str = ""):
    """The NAO-WS search; variant "smoke" as in configs/cifar.py."""
    config = cifar.get_config(variant)
    config.supernet.sampler = "uniform"
    return config

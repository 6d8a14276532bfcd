"""SPOS in the MobileNet space: a kernel and an expansion, or no block, for each of 21 layers.

The space is that of Cai, Zhu, Han, "ProxylessNAS", 2019, https://arxiv.org/abs/1812.00332, written
with `Choice` in bnao_jax/spaces/mobilenet.py. Training and search are those of configs/spos.py.

    python -m launch.search --config=configs/mobilenet.py:cifar --workdir=runs/mobilenet
    python -m launch.search --config=configs/mobilenet.py:smoke

Without a variant it is ImageNet, as a file of images of one's own; `cifar` has numbers of our own
for CIFAR-10, the stem and the first stage at full resolution; `smoke` walks the same way with five
layers on a CPU, where compiling them takes a minute or two. configs/dynamic.py:mobilenet adds rates
by complexity and separated momenta.

    --config.space.settings="stem_stride=1, strides=(1, 2, 2, 1, 2, 1), depths=(2, 2, 2, 2, 2, 1)"
                                               another network; these are the fields of the module
    --config.search.max_macs=400000000         another limit
"""

from ml_collections import ConfigDict

from configs import spos


def get_config(variant: str = "") -> ConfigDict:
    """The search on ImageNet; variants "cifar" and "smoke" on CIFAR-10."""
    config = spos.get_config(variant)
    config.space.name = "mobilenet"
    config.supernet.sampler = "whole_space"
    # Random architectures have 243 to 514 M multiply-adds, half of them more than 373 M.
    config.search.max_macs = 350_000_000
    if variant:
        config.space.settings = "stem_stride=1, strides=(1, 2, 2, 1, 2, 1)"
        config.search.max_macs = 105_000_000  # a quarter of them is below
    if variant == "smoke":
        config.space.settings = (
            "stem=8, stem_stride=1, first=8, widths=(8, 16, 24), depths=(2, 2, 1), "
            "strides=(1, 2, 2), last=64"
        )
        config.search.max_macs = 5_000_000
    return config

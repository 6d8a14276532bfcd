"""Mixed precision: bit widths of weights and activations for each block of a ResNet-18.

Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", 2019, section
3.4, https://arxiv.org/abs/1904.00420; the space is bnao_jax/spaces/quantised.py. Training and
search are those of configs/spos.py. The limit is in bit operations, multiply-adds times both bit
widths, and is that of the network of 3 bits throughout.

    python -m launch.search --config=configs/quantised.py --workdir=runs/quantised
    python -m launch.search --config=configs/quantised.py:smoke

Without a variant it is ImageNet, as a file of images of one's own; `smoke` walks the same way on
CIFAR-10 with three blocks, on a CPU.

    --config.search.max_cost=6782189568        as the network of 2 bits; of 4 bits: 27128758272
"""

from ml_collections import ConfigDict

from configs import spos


def get_config(variant: str = "") -> ConfigDict:
    """The search on ImageNet; variant "smoke" on CIFAR-10."""
    if variant not in ("", "smoke"):
        raise ValueError(f"variant {variant!r} of configs/quantised.py is not 'smoke'")
    config = spos.get_config(variant)
    config.space.name = "quantised"
    config.supernet.sampler = "whole_space"
    config.search.max_macs = None
    config.search.max_cost = 15_259_926_528
    if variant == "smoke":
        config.space.settings = (
            "stem=8, stem_kernel=3, stem_stride=1, pooled=False, widths=(8, 16, 32), depth=1"
        )
        config.search.max_cost = 27_131_904
    return config

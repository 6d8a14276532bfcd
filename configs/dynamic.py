"""Dynamic supernet training: rates by complexity, and separated momenta.

Jeon et al., "Subnet-Aware Dynamic Supernet Training for Neural Architecture Search", CVPR 2025,
https://arxiv.org/abs/2503.10740: as configs/rank_nasbench201.py, but the rate falls faster for
simple paths (CaLR), and the operations of one random edge have a momentum each.

    python -m launch.rank --config=configs/dynamic.py --config.truth=FILE

The paper's second space is that of configs/mobilenet.py, where the options of one random layer have
a momentum each. CaLR needs the sizes of a pool, so 1,000 random architectures are what trains:

    python -m launch.search --config=configs/dynamic.py:mobilenet

    --config.supernet.schedule=complexity_mean   the control: all paths, the same mean rate
    --config.supernet.schedule=cosine            momentum separation alone
    --config.supernet.separate_momentum=False    CaLR alone
    --config.supernet.sampler=strictly_fair      five paths a step, which share the random edge's
                                                 operation; CaLR weights the loss of each
"""

from configs import mobilenet, rank_nasbench201

MOBILENET = {"mobilenet": "", "mobilenet_cifar": "cifar", "mobilenet_smoke": "smoke"}


def get_config(variant: str = ""):
    """CaLR and momentum separation.

    Variants "smoke" as in configs/rank_nasbench201.py; "mobilenet", "mobilenet_cifar",
    "mobilenet_smoke" as in configs/mobilenet.py.
    """
    if variant in MOBILENET:
        config = mobilenet.get_config(MOBILENET[variant])
        config.supernet.sampler = "uniform"
        config.search.initial = 20 if variant == "mobilenet_smoke" else 1_000
    else:
        config = rank_nasbench201.get_config(variant)
    config.supernet.schedule = "complexity"
    config.supernet.separate_momentum = True
    return config

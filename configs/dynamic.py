"""Dynamic supernet training on NAS-Bench-201: rates by complexity, and separated momenta.

Jeon et al., "Subnet-Aware Dynamic Supernet Training for Neural Architecture Search", CVPR 2025,
https://arxiv.org/abs/2503.10740: as configs/rank_nasbench201.py, but the rate falls faster for
simple paths (CaLR), and the operations of one random edge have a momentum each.

    python -m launch.rank --config=configs/dynamic.py --config.truth=FILE

    --config.supernet.schedule=complexity_mean   the control: all paths, the same mean rate
    --config.supernet.schedule=cosine            momentum separation alone
    --config.supernet.separate_momentum=False    CaLR alone
    --config.supernet.sampler=strictly_fair      five paths a step, which share the random edge's
                                                 operation; CaLR weights the loss of each
"""

from configs import rank_nasbench201


def get_config(variant: str = ""):
    """CaLR and momentum separation; variant "smoke" as in configs/rank_nasbench201.py."""
    config = rank_nasbench201.get_config(variant)
    config.supernet.schedule = "complexity"
    config.supernet.separate_momentum = True
    return config

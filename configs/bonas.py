"""BONAS on CIFAR-10: Bayesian optimisation, a supernet of its own for each round's architectures.

Shi et al., "Bridging the Gap between Sample-based and One-shot Neural Architecture Search with
BONAS", 2020, https://arxiv.org/abs/1911.09336. Of what evolves under the surrogate's upper
confidence bound, the 100 best are trained together, from new weights, and scored on validation
images with batch statistics estimated anew; all scores so far fit the next surrogate.

    python -m launch.search --config=configs/bonas.py --workdir=runs/bonas
    python -m launch.search --config=configs/bonas.py:smoke

Not as in the paper: its supernet trains whole, all its architectures added up, in the first 10 of
100 epochs, here single paths from the first step on; its normal and reduction cell are the same and
know four operations, here the cells and operations are those of the NAO space.

    --config.bonas.exploration=0               no bonus for what is unsure
    --config.supernet.from_scratch=False       weights carried over, all scored again each round
"""

from configs import cifar


def get_config(variant: str = ""):
    """The search; variant "smoke" as in configs/cifar.py."""
    config = cifar.get_config(variant)
    config.space.nodes = 4
    supernet = config.supernet
    supernet.epochs = 3 if variant else 100
    supernet.sampler, supernet.from_scratch = "uniform", True
    supernet.drop_path_keep, supernet.learning_rate_end = 1.0, 0.0
    scoring = config.scoring
    scoring.statistics, scoring.calibration_images = "estimated", 512 if variant else 10_000
    search = config.search
    search.strategy = "bonas"
    if not variant:
        search.initial, search.rounds, search.proposals = 100, 5, 100
    return config

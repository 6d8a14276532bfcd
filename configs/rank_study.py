"""Does the ranking need long training, similar sizes, or balanced sampling? The paper's study.

Luo, Qin, Chen, "Balanced One-shot Neural Architecture Optimization", 2020,
https://arxiv.org/abs/1909.10815, Tables 2, 3 and 6: 50 architectures are trained alone, and
together in one supernet for 5, 10, 20, 30 and 50 epochs, with uniform and proportional sampling;
50 others of similar sizes the same. How many pairs are in the same order?

    python -m launch.rank --config=configs/rank_study.py
    python -m launch.rank --config=configs/rank_study.py:nasbench201 --config.truth=FILE
    python -m launch.rank --config=configs/rank_study.py:smoke

The first trains 100 networks of C = 20, N = 3 alone for `final.epochs`; the paper trains them
completely. The second takes their accuracies from a table, see configs/rank_nasbench201.py, with
small supernets. The third walks the way in minutes on two CPU cores.
"""

from ml_collections import ConfigDict

from configs import cifar, rank_nasbench201


def get_config(variant: str = "") -> ConfigDict:
    """The paper's study; variants "nasbench201" and "smoke"."""
    if variant not in ("", "nasbench201", "smoke"):
        raise ValueError(
            f"variant {variant!r} of configs/rank_study.py is not 'nasbench201' or 'smoke'"
        )
    config = cifar.get_config("smoke" if variant == "smoke" else "")
    if variant == "nasbench201":
        config = rank_nasbench201.get_config("smoke")
        config.final = cifar.get_config().final
        del config.rank
    else:
        del config.search, config.nao, config.evolution, config.bonas, config.random_baseline
        config.seeds = 3
        config.truth = ""  # file of known accuracies; "": architectures are trained alone
    config.job = "study"
    del config.supernet.epochs, config.supernet.sampler, config.final.top
    config.final.epochs, config.scoring.score = 600, "accuracy"

    config.study = study = ConfigDict()
    study.architectures = 50  # of diverse sizes, and as many of similar ones
    study.candidates = 1_000  # random ones, of which the similar have the sizes next to the median
    study.epochs = (5, 10, 20, 30, 50)  # of a supernet; each length is trained from the beginning
    study.samplers = ("uniform", "proportional")  # the first is what the others are compared with
    study.column = "cifar10_test_acc_200ep"

    if variant == "nasbench201":
        config.seeds = 3
    if variant == "smoke":
        config.seeds, config.final.epochs = 2, 2
        study.architectures, study.candidates, study.epochs = 6, 40, (1, 3)
    return config

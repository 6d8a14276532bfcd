"""Which strategy is worth its cost? All on the table of NAS-Bench-201, without any training.

Dong, Yang, "NAS-Bench-201", 2020, https://arxiv.org/abs/2001.00326. A strategy sees the validation
accuracy after 12 epochs; what it has found is judged by the test accuracy after 200.

    python -m launch.compare --config=configs/tabular.py --config.truth=FILE

FILE as in configs/rank_nasbench201.py. 20 searches of each strategy, 300 evaluations each; those of
one seed begin with the same random architectures. Minutes on two CPU cores.

NAO's settings are those that were found best here, not the paper's, with which it finds nothing
better than chance (launch/compare/README.md).

    --config.search.max_params=400000          within a limit on the benchmark's network
    --config.comparison.strategies="('nao','random')"
"""

from ml_collections import ConfigDict

from configs import rank_nasbench201
from configs.cifar import get_config as search_config


def get_config() -> ConfigDict:
    """All strategies on the table."""
    config, search = rank_nasbench201.get_config(), search_config()
    for name in ("rank", "data", "supernet", "scoring", "devices", "tensorboard"):
        del config[name]
    del config.checkpoint_every_steps, config.checkpoint_every_seconds
    config.job = "comparison"
    config.seeds = 20

    config.search = search.search
    for name in ("strategy", "report", "max_latency", "latencies", "latency_batch"):
        del config.search[name]
    config.search.initial, config.search.rounds, config.search.proposals = 100, 5, 50
    config.nao, config.evolution, config.bonas = search.nao, search.evolution, search.bonas

    config.comparison = comparison = ConfigDict()
    comparison.strategies = ("nao", "bonas", "evolution", "random")
    comparison.column = "cifar10_valid_acc_12ep"
    comparison.final_column = "cifar10_test_acc_200ep"
    comparison.evaluations = (100, 200, 300)
    comparison.noise = 0.0
    return config

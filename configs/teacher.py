"""Which strategy finds most in the space of NAO cells? On made-up truths, without any training.

Of the 40 decisions of two cells no table can be made; a teacher takes its place, a random function
of an architecture (`bnao_jax/teacher.py`). Every seed has another.

    python -m launch.compare --config=configs/teacher.py

10 searches of each strategy, 600 evaluations each; those of one seed begin with the same random
architectures.

    --config.truth=teacher:sum                 easier; or teacher:pairs
    --config.comparison.noise=1                scores as good supernets give them
    --config.space.name=shufflenet             another space
"""

from ml_collections import ConfigDict

from configs import cifar, tabular


def get_config() -> ConfigDict:
    """All strategies on a teacher that reads cells as graphs."""
    config = tabular.get_config()
    config.truth, config.seeds = "teacher:graph", 10
    config.space, config.network = cifar.get_config().space, cifar.get_config().network
    config.search.rounds = 11
    config.comparison.column, config.comparison.final_column = "score", "value"
    config.comparison.evaluations = (200, 400, 600)
    return config

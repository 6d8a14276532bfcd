"""Known accuracies, as a config names them."""

from bnao_jax import ground_truth
from launch.command import UsageError
from launch.config.plan import named


def load_truth(path, column, decisions):
    """The `GroundTruth` of a file, which has the column for every architecture."""
    if not path:
        raise UsageError(
            "config.truth is missing; for example --config.truth=nasbench201.csv.gz: a CSV file "
            f"with the columns arch_str and {column}, in percent"
        )
    return named("config.truth", _load, path, column, decisions)


def _load(path, column, decisions):
    truth = ground_truth.load(path, decisions)
    truth.of(truth.pool[:1], column)
    return truth

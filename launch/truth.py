"""Known accuracies, as a config names them."""

from bnao_jax import ground_truth
from launch import wiring
from launch.command import UsageError


def load_truth(path, column, space):
    """The `GroundTruth` of a file, which has the column for every architecture."""
    if not path:
        raise UsageError(
            "config.truth is missing; for example --config.truth=nasbench201.csv.gz: a CSV file "
            f"with the columns arch_str and {column}, in percent"
        )
    return wiring.named("config.truth", _load, path, column, space)


def _load(path, column, space):
    truth = ground_truth.load(path, space)
    truth.of(truth.pool[:1], column)
    return truth

"""Known accuracies, as a config names them: those of a file, or a teacher's."""

import numpy as np

from bnao_jax import ground_truth, teacher
from launch.command import UsageError
from launch.config.plan import named

TEACHER = "teacher:"  # config.truth=teacher:KIND


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


def is_teacher(settings) -> bool:
    """Whether the truth of a comparison is a teacher."""
    return settings.truth.startswith(TEACHER)


def truth_of_seeds(settings, space):
    """A function from a seed to what strategies are compared on: an object with `of(pool, column)`.

    A table is the same for all seeds; every seed has a teacher of its own. UsageError where the
    truth does not fit.
    """
    comparison = settings.comparison
    columns = comparison.column, comparison.final_column
    if is_teacher(settings):
        kind = settings.truth.removeprefix(TEACHER)
        make = lambda seed: teacher.Teacher(kind, space, seed, noise=comparison.noise)
        nothing = np.zeros((0, space.decisions.length), np.int32)
        for column in columns:
            named("config.truth", lambda column: make(0).of(nothing, column), column)
        return make
    if comparison.noise:
        raise UsageError("config.comparison.noise is a teacher's; a table's accuracies are exact")
    truth = load_truth(settings.truth, columns[0], space.decisions)
    named("config.truth", truth.of, truth.pool[:1], columns[1])
    if len(truth.pool) < np.prod([float(n) for n in space.decisions.options]):
        raise UsageError(
            f"config.truth={settings.truth} has {len(truth.pool)} architectures; strategies may "
            f"ask for any of {space.decisions.name}"
        )
    return lambda seed: truth

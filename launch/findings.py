"""What follows from a search's files: its best, what to expect, where limits cut, the truth.

Accuracies are of validation images, 0..1, and told in percent; scores see `runs.Unit`.
"""

import dataclasses
import math
import pathlib
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from bnao_jax import data, sampler
from launch import latencies, runs, wiring
from launch.command import UsageError
from launch.records import BAD_VALUE, LARGEST_FILE, number
from launch.space_costs import sampled, share_within
from launch.spaces import SPACES
from launch.truth import load_truth

SHOWN = 5  # architectures, where the search is not finished
LIMITS = {
    "search.max_params": "parameters",
    "search.max_macs": "multiply-adds",
    "search.max_latency": "s predicted latency",
}
DRAWS = 4_096  # random architectures that the share within a limit is taken of


class Found(NamedTuple):
    """An architecture that a search has chosen.

    Attributes:
      text: its text form.
      params, macs: its cost.
      score, accuracy: with shared weights, on validation images; NaN where they are not known.
      alone: validation accuracy trained alone; NaN where it was not.
    """

    text: str
    params: int
    macs: int
    score: float
    accuracy: float
    alone: float


def chosen(run, key="best") -> list[Found]:
    """The best architectures, best first; of a search under way the best by score.

    `key` "control" instead: the best of the random control.
    """
    rows, found = run.result.get(key), []
    for row in rows if isinstance(rows, list) else []:
        try:
            text, params, macs, _, score, accuracy, _ = runs.architecture(row)
            alone = number(row, "accuracy_alone")
            found.append(Found(text, params, macs, score, accuracy, alone))
        except BAD_VALUE:
            continue
    if found or key == "control":
        return found
    pool = run.pool
    order = np.argsort(-pool.score, kind="stable")  # NaN comes last
    best = [row for row in order[:SHOWN] if np.isfinite(pool.score[row])]
    numbers = (pool.params, pool.macs, pool.score, pool.accuracy)
    columns = pool.texts, *(column.tolist() for column in numbers)
    return [Found(*(column[row] for column in columns), math.nan) for row in best]


def images(run) -> int | None:
    """Number of images that scores are taken on."""
    held, fewer = run.field("data.valid_examples"), run.field("scoring.images")
    return min(held, fewer or held) if held else None


def error(share, count) -> float:
    """Standard error of a share of `count` images; NaN where these are not known."""
    return math.sqrt(share * (1 - share) / count) if count and 0 <= share <= 1 else math.nan


def percent(share, count=None) -> str:
    """A share in percent, with its standard error where the number of images is known."""
    if not math.isfinite(share):
        return "unknown"
    off = error(share, count)
    return f"{100 * share:.1f} %" + (f" ± {100 * off:.1f}" if math.isfinite(off) else "")


def draws_from_space(run) -> bool:
    """Whether the paths that train come from the whole space, not from a round's pool."""
    return run.field("supernet.sampler") in sampler.WHOLE_SPACE


def expected(run):
    """Expected steps of each architecture of the pool (Eq. 4), float64[P]; None if not known."""
    rule, pool = run.field("supernet.sampler"), run.pool
    means, strata = np.zeros(len(pool.texts)), None
    try:
        if rule == "stratified":
            space = run.outline.space
            strata = SPACES[run.field("space.name")].strata(space.parse_lines(pool.texts))
        for of_round in np.unique(pool.round):
            own = (pool.round == of_round) & (pool.params > 0)
            weights = {
                "proportional": lambda own=own: sampler.proportional(
                    pool.params[own], run.field("supernet.size_exponent")
                ),
                "uniform": lambda own=own: sampler.uniform(pool.params[own]),
                "stratified": lambda own=own: sampler.stratified(strata[own]),
            }[rule]()
            means[own] = sampler.expected_counts(weights, int(pool.trained[own].sum()))
    except (*BAD_VALUE, AttributeError):
        return None
    return means


def limits(run) -> str | None:
    """Where the limits cut, in words; None without any."""
    found = {name: run.field(name) for name in LIMITS if run.field(name)}
    if not found:
        return None
    told = " and ".join(f"at most {value:,} {LIMITS[name]}" for name, value in found.items())
    if (share := _share_within_limits(run)) is None:
        return f"The limit is {told}."
    return f"The limit is {told}; {percent(share)} of {DRAWS:,} random architectures satisfy it."


def _share_within_limits(run):
    """The share of random architectures within the limits; None where it cannot be known."""
    name, shrink = run.field("data.name"), run.field("data.shrink")
    if run.outline is None or name not in data.FORMS or not shrink:
        return None
    (height, width, channels), classes = data.FORMS[name]
    shape = (height // shrink, width // shrink, channels)
    outline = dataclasses.replace(run.outline, classes=classes)
    fields = (*LIMITS, "search.latencies", "search.latency_batch")
    config = ConfigDict({"space": {"name": run.field("space.name")}, "search": {}})
    config.search.update({field.split(".")[1]: run.field(field) for field in fields})
    latency_of = None
    if config.search.max_latency is not None:
        table = pathlib.Path(config.search.latencies or "")
        try:
            if not table.is_file() or table.stat().st_size > LARGEST_FILE:
                return None
            latency_of = latencies.load_latencies(config, outline, shape).predict
        except (OSError, ValueError, UsageError):
            return None
    accept = wiring.make_limit(config, wiring.make_cost(config, outline, shape), latency_of)
    return share_within(sampled(outline.space, DRAWS), accept)


def truth_of(run, path, column):
    """Known accuracies float64[P] of a run's pool.

    Raises:
      UsageError: the table cannot be read, or has not all of them.
    """
    wiring.named("--truth", _need_outline, run)
    space = run.outline.space
    pool = wiring.named("--truth: pool.jsonl", space.parse_lines, run.pool.texts)
    return wiring.named("--truth", load_truth(path, column, space).of, pool, column)


def _need_outline(run):
    if run.outline is None:
        raise ValueError("the config of the search names no search space")

"""What a report computes from a search's files: the best, expected steps, limits, the truth.

Accuracies are those on validation images, 0..1; the page shows them in percent. For scores see
`search_folder.Unit`.
"""

import dataclasses
import math
import pathlib
from typing import NamedTuple

import jax
import numpy as np

from bnao_jax import data, sampler
from bnao_jax.cost import limit
from bnao_jax.search import SearchSettings
from bnao_jax.spaces.module_space import ModuleSpace
from launch.command import UsageError
from launch.config.plan import named
from launch.inputs import latencies
from launch.inputs.ground_truth import load_truth
from launch.report import search_folder
from launch.report.damaged_json import BAD_VALUE, LARGEST_FILE, number

SHOWN = 5  # architectures, where the search is not finished
LIMITS = {
    "search.max_params": "parameters",
    "search.max_macs": "multiply-adds",
    "search.max_cost": "own cost",
    "search.max_latency": "s predicted latency",
}
DRAWS = 4_096  # random architectures that estimate the share within a limit


class Candidate(NamedTuple):
    """An architecture that a search has chosen.

    Attributes:
      text: its text form.
      params, macs: its cost.
      score, accuracy: with shared weights, on validation images; NaN where unknown.
      alone: validation accuracy trained alone; NaN where it was not.
    """

    text: str
    params: int
    macs: int
    score: float
    accuracy: float
    standalone: float


class Comparison(NamedTuple):
    """Found architectures against random ones, all trained alone.

    Attributes:
      group: what the random ones are, in words.
      found_mean, random_mean: accuracy on images that judge, 0..1.
      difference, low, high: of the means, with its 95 % interval; NaN where unknown.
      verdict: "better", "worse" or "not shown".
      networks: of each group.
      images: that judged.
    """

    group: str
    found_mean: float
    random_mean: float
    difference: float
    low: float
    high: float
    verdict: str
    networks: int
    images: int


COMPARED = {
    "against_random": "random architectures",
    "against_random_of_same_size": "random architectures of the same sizes",
}


def comparisons(run) -> list[Comparison]:
    """The comparisons with random architectures that the result holds."""
    rows = []
    for key, group in COMPARED.items():
        row = run.result.get(key)
        try:
            means = [number(row, name) for name in ("found", "random", "difference")]
            ends = [number(row, name) for name in ("low", "high")]
            counts = [int(row[name]) for name in ("networks", "images")]
            if (
                row["verdict"] not in ("better", "worse", "not shown")
                or not np.isfinite(means).all()
            ):
                raise ValueError(row)
            rows.append(Comparison(group, *means, *ends, row["verdict"], *counts))
        except BAD_VALUE:
            continue
    return rows


def chosen(run) -> list[Candidate]:
    """The best architectures, best first; of a search under way the best by score."""
    rows, candidates = run.result.get("best"), []
    for row in rows if isinstance(rows, list) else []:
        try:
            text, params, macs, _, score, accuracy, _ = search_folder.architecture(row)
            standalone = number(row, "standalone_accuracy")
            candidates.append(Candidate(text, params, macs, score, accuracy, standalone))
        except BAD_VALUE:
            continue
    if candidates:
        return candidates
    pool = run.pool
    order = np.argsort(-pool.score, kind="stable")  # NaN comes last
    best = [row for row in order[:SHOWN] if np.isfinite(pool.score[row])]
    numbers = (pool.params, pool.macs, pool.score, pool.accuracy)
    columns = pool.texts, *(column.tolist() for column in numbers)
    return [Candidate(*(column[row] for column in columns), math.nan) for row in best]


def images(run) -> int | None:
    """Number of images that scores are taken on."""
    held, fewer = run.field("data.valid_examples"), run.field("scoring.images")
    return min(held, fewer or held) if held else None


def error(share, count) -> float:
    """Standard error of a share of `count` images; NaN where `count` is unknown."""
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
    """Expected steps of each architecture of the pool (Eq. 4), float64[P]; None if unknown."""
    rule, pool = run.field("supernet.sampler"), run.pool
    means, strata = np.zeros(len(pool.texts)), None
    try:
        if rule == "stratified":
            strata = run.space.strata(run.space.decisions.parse_lines(pool.texts))
        for of_round in np.unique(pool.round):
            mask = (pool.round == of_round) & (pool.params > 0)
            weights = {
                "proportional": lambda mask=mask: sampler.log_proportional(
                    pool.params[mask], run.field("supernet.size_exponent")
                ),
                "uniform": lambda mask=mask: sampler.log_proportional(pool.params[mask], 0.0),
                "stratified": lambda mask=mask: sampler.log_stratified(strata[mask]),
            }[rule]()
            means[mask] = sampler.expected_counts(weights, float(pool.trained[mask].sum()))
    except (*BAD_VALUE, AttributeError):
        return None
    return means


def limits(run) -> str | None:
    """The limits and the share of architectures within them, in words; None without limits."""
    bounds = {name: run.field(name) for name in LIMITS if run.field(name)}
    if not bounds:
        return None
    words = " and ".join(f"at most {value:,} {LIMITS[name]}" for name, value in bounds.items())
    if (share := _share_within_limits(run)) is None:
        return f"The limit is {words}."
    return f"The limit is {words}; {percent(share)} of {DRAWS:,} random architectures satisfy it."


def _share_within_limits(run):
    """The share of random architectures within the limits; None where it cannot be known."""
    name, shrink = run.field("data.name"), run.field("data.shrink")
    if run.space is None or name not in data.FORMS or not shrink:
        return None
    (height, width, channels), classes = data.FORMS[name]
    shape = (height // shrink, width // shrink, channels)
    space = run.space
    if isinstance(space, ModuleSpace):  # which is made for its images
        if (space.image_shape, space.classes) != (shape, classes):
            return None
    else:
        space = dataclasses.replace(space, classes=classes)
    fields = {field.split(".")[1]: run.field(field) for field in LIMITS}
    latency_of = None
    if fields["max_latency"] is not None:
        table = pathlib.Path(run.field("search.latencies") or "")
        try:
            if not table.is_file() or table.stat().st_size > LARGEST_FILE:
                return None
            batch = run.field("search.latency_batch") or 1
            settings = SearchSettings(latencies=str(table), latency_batch=batch)
            latency_of = latencies.load_latencies(settings, space, shape).predict
        except (OSError, ValueError, UsageError):
            return None
    cost_of = lambda pool: space.cost(pool, shape)
    if fields["max_cost"] is not None and space.own_cost is None:
        return None
    own_cost_of = lambda pool: space.own_cost(pool, shape)
    accept = limit(cost_of, **fields, latency_of=latency_of, own_cost_of=own_cost_of)
    pool = np.asarray(space.decisions.random(jax.random.key(0), DRAWS))
    return float(np.mean(accept(pool)))


def truth_of(run, path, column):
    """Known accuracies float64[P] of a run's pool.

    Raises:
      UsageError: the table cannot be read, or has not all of them.
    """
    if run.space is None:
        raise UsageError("--truth: the config of the search names no search space")
    decisions = run.space.decisions
    pool = named("--truth: pool.jsonl", decisions.parse_lines, run.pool.texts)
    return named("--truth", load_truth(path, column, decisions).of, pool, column)

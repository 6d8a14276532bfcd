"""A reader's questions about a search, answered from its files."""

import math

import numpy as np

from bnao_jax import ranking
from bnao_jax.objective import KINDS
from launch.report.damaged_json import number, numbers
from launch.report.facts import chosen, comparisons, draws_from_space, expected, images, percent

TWICE = 2  # standard errors; a smaller difference may be chance
UNKNOWN = "Not known: "
VERDICTS = {
    "better": "Found architectures are better",
    "worse": "Found architectures are worse",
    "not shown": "It is not shown that found architectures are better",
}


def answers(run) -> list[tuple[str, str]]:
    """(question, answer) pairs, in the order a reader asks."""
    return [
        ("Did it work?", _worked(run)),
        ("Is it better than random?", _better(run)),
        ("Was training balanced?", _balanced(run)),
        ("Can the ranking be trusted?", _trusted(run)),
    ]


def _worked(run):
    rounds, of = len(run.rounds), run.field("search.rounds")
    done = f"{rounds} of {of or 'an unknown number of'} rounds are done"
    state = "The search is finished" if run.result else f"The search is not finished: {done}"
    if not (best := chosen(run)):
        return f"{state}; nothing is scored yet."
    count, first = images(run), best[0]
    standalone = (
        f", {percent(first.standalone, count)} trained alone"
        if math.isfinite(first.standalone)
        else ""
    )
    among = f" of {len(run.pool.texts)} architectures" if run.pool.texts else ""
    kind = run.unit.kind
    learned = "" if kind == "accuracy" else f" The search learned from the {KINDS[kind]}."
    return (
        f"{state}. The best{among} reaches {percent(first.accuracy, count)} validation accuracy "
        f"with shared weights{standalone}, with {first.params:,} parameters and {first.macs:,} "
        f"multiply-adds.{learned}"
    )


def _better(run):
    if not (rows := comparisons(run)):
        wanted = run.field("random_baseline.networks")
        why = "networks are trained after the last round" if wanted else "none were trained"
        return f"{UNKNOWN}{why} to compare with (random_baseline.networks={wanted})."
    sentences = []
    for row in rows:
        ends = ""
        if math.isfinite(row.low):
            ends = f" (95 % interval {100 * row.low:+.1f} to {100 * row.high:+.1f})"
        sentences.append(
            f"{VERDICTS[row.verdict]} than {row.group}: mean test accuracy "
            f"{percent(row.found_mean)} against {percent(row.random_mean)}, "
            f"{100 * row.difference:+.1f} points{ends}."
        )
    return (
        f"{' '.join(sentences)} {rows[0].networks} networks of each group, drawn or found, were "
        f"trained alone and alike and judged on {rows[0].images:,} images that chose none of them."
    )


def _balanced(run):
    if draws_from_space(run):
        return (
            f"{UNKNOWN}the paths that train are drawn from the whole space "
            f"({run.field('supernet.sampler')}), so those of the pool are trained by chance alone."
        )
    means = expected(run)
    if means is None or not run.pool.trained.any():
        return f"{UNKNOWN}how often architectures were trained, or by which rule, is missing."
    trained, rule = run.pool.trained, run.field("supernet.sampler")
    drawn = means > 0
    steps = np.array([trained[run.pool.round == number].sum() for number in run.pool.round])
    spread = np.sqrt(means * (1 - means / np.maximum(steps, 1)))
    within = np.mean(np.abs(trained - means)[drawn] <= TWICE * spread[drawn])
    return (
        f"The sampler is {rule}. Of {drawn.sum()} architectures {percent(within)} were trained as "
        "often as expected, within two standard deviations of chance (95 % would be usual)."
    )


def _trusted(run):
    sentences = []
    name = "held_out_pairwise_accuracy"
    if learned := [row for row in run.rounds if math.isfinite(number(row, name))]:
        unseen = len(numbers(learned[-1], "held_out_scores")) or "the"
        sentences.append(
            f"Of the pairs of {unseen} architectures that its fit had not seen, the predictor last "
            f"put {percent(number(learned[-1], name))} in the measured order; chance is 50 %."
        )
    both = [c for c in chosen(run) if math.isfinite(c.score + c.standalone)]
    if len(both) > 2:
        right = ranking.pairwise_accuracy([c.score for c in both], [c.standalone for c in both])
        sentences.append(
            f"Of the {len(both)} best, trained alone, {percent(right)} of the pairs are in the "
            "order of their scores with shared weights."
        )
    elif both:
        sentences.append(
            f"Only {len(both)} were trained alone, too few to say how well scores with shared "
            "weights rank; launch.rank measures that where the truth is known."
        )
    return " ".join(sentences) or f"{UNKNOWN}neither a predictor nor networks trained alone."

"""A reader's questions about a search, answered from its files."""

import math

import numpy as np

from bnao_jax import ranking
from bnao_jax.objective import KINDS
from launch.report.damaged_json import number, numbers
from launch.report.facts import chosen, draws_from_space, error, expected, images, percent

TWICE = 2  # standard errors; a smaller difference may be chance
UNKNOWN = "Not known: "


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
    alone = f", {percent(first.alone, count)} trained alone" if math.isfinite(first.alone) else ""
    among = f" of {len(run.pool.texts)} architectures" if run.pool.texts else ""
    kind = run.unit.kind
    learned = "" if kind == "accuracy" else f" The search learned from the {KINDS[kind]}."
    return (
        f"{state}. The best{among} reaches {percent(first.accuracy, count)} validation accuracy "
        f"with shared weights{alone}, with {first.params:,} parameters and {first.macs:,} "
        f"multiply-adds.{learned}"
    )


def _better(run):
    control = run.control.score[np.isfinite(run.control.score)]
    if not len(control):
        wanted = run.field("search.random_baseline")
        why = "the random control comes after the last round" if wanted else "there is no control"
        return f"{UNKNOWN}{why} (search.random_baseline={wanted})."
    last = run.pool.round == run.pool.round.max(initial=0)
    last = run.pool.score[last & np.isfinite(run.pool.score)]
    best = run.unit.format(control.max())
    answer = f"The best of {len(control)} random architectures scores {best}."
    if len(last):
        above = np.mean(np.searchsorted(np.sort(control), last) / len(control))
        answer += (
            f" An architecture of the last round scores higher than a random one in "
            f"{percent(above)} of all pairs, by the same weights."
        )
    ours, theirs = chosen(run), chosen(run, "control")
    if not (ours and theirs and math.isfinite(ours[0].alone + theirs[0].alone)):
        return answer
    count, gap = images(run), ours[0].alone - theirs[0].alone
    off = math.hypot(error(ours[0].alone, count), error(theirs[0].alone, count))
    answer += (
        f" Trained alone the search's best reaches {percent(ours[0].alone)} and the control's best "
        f"{percent(theirs[0].alone)}"
    )
    if not math.isfinite(off):
        return f"{answer}."
    verdict = (
        "more than twice the standard error"
        if abs(gap) > TWICE * off
        else "within twice the standard error, so they cannot be told apart"
    )
    return f"{answer}: a difference of {100 * gap:+.1f} points ± {100 * off:.1f}, {verdict}."


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
    both = [c for c in chosen(run) if math.isfinite(c.score + c.alone)]
    if len(both) > 2:
        right = ranking.pairwise_accuracy([c.score for c in both], [c.alone for c in both])
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

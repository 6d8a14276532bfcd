"""What a search's controller learned and proposed, in pictures.

Each function returns a figure and its description, or None where the data are missing.
"""

import numpy as np
from scipy import stats

from bnao_jax.ranking import pairwise_accuracy
from launch.plots.style import (
    COLOURS,
    GREY,
    INK,
    MARKERS,
    MOST_ROUNDS,
    figure,
    legend,
    points,
    whole_numbers,
)
from launch.report.damaged_json import number, numbers

ASCENT = {  # counts of architectures that were decoded, bred or drawn
    "decoded_new": "decoded and proposed",
    "mutants_new": "bred and proposed",
    "decoded_repeated": "known before",
    "decoded_beyond_limit": "beyond the limit",
    "decoded_invalid": "invalid",
    "filled_at_random": "drawn at random instead",
}


def predictions(run):
    """Predicted against measured ranks of architectures that the fit had not seen.

    A search that holds none out tests the predictor on what it proposed with it: those were encoded
    again and predicted before they were measured.
    """
    rounds = []
    for row in run.rounds:
        pair = numbers(row, "held_out_scores"), numbers(row, "held_out_predicted")
        if len(pair[0]) == len(pair[1]) > 1:
            rounds.append((number(row, "round"), *pair))
    if not rounds:
        return None
    fig, axes = figure(
        "The predictor on architectures that its fit had not seen",
        "measured rank among them, % (100: the best)",
        "predicted rank, %",
    )
    for place, (of_round, actual, predicted) in enumerate(rounds):
        look = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        label = f"tested after round {of_round:.0f}" if place < MOST_ROUNDS else None
        points(axes, _ranks(actual), _ranks(predicted), *look, s=24, label=label)
    axes.plot([0, 100], [0, 100], color=INK, linewidth=1, linestyle=":", label="as measured")
    legend(fig, axes)
    _, actual, predicted = rounds[-1]
    right = 100 * pairwise_accuracy(predicted, actual)
    held_out = any(np.isfinite(number(row, "held_out_reconstruction")) for row in run.rounds)
    whose = "held out of the fit" if held_out else "proposed with it, encoded again"
    return fig, (
        f"Architectures {whose}. In the last of these rounds {right:.0f} % of the pairs of "
        f"{len(actual)} are in the right order."
    )


def _ranks(values):
    """Ranks in percent, the best 100, equals alike."""
    return 100 * stats.rankdata(values) / len(values)


def pairs(run):
    """Pairwise accuracy of the predictor over the rounds."""
    rows = [row for row in run.rounds if np.isfinite(number(row, "held_out_pairwise_accuracy"))]
    if not rows:
        return None
    fig, axes = figure(
        "How often the predictor orders two unseen architectures rightly",
        "round after which it was tested",
        "pairs in the right order, %",
    )
    at = [number(row, "round") for row in rows]
    values = [100 * number(row, "held_out_pairwise_accuracy") for row in rows]
    axes.plot(at, values, marker="o", label="architectures that its fit had not seen")
    axes.axhline(50, color=GREY, linestyle="--", label="chance")
    axes.set_ylim(0, 100)
    whole_numbers(axes.xaxis)
    legend(fig, axes)
    texts = [f"round {n:.0f}: {share:.0f} %" for n, share in zip(at, values, strict=True)]
    return fig, f"{'; '.join(texts)}."


def ascent(run):
    """How many decoded architectures were new, repeated, invalid and so on, round by round."""
    rows = [row for row in run.rounds if np.isfinite(number(row, "decoded"))]
    if not rows:
        return None
    fig, axes = figure(
        "What came of the ascent, and of breeding from its parents",
        "round whose best were the parents",
        "architectures",
    )
    at, bottom = np.arange(len(rows)), np.zeros(len(rows))
    for place, (name, label) in enumerate(ASCENT.items()):
        values = np.nan_to_num([number(row, name) for row in rows])
        label = f"{label}: {values.sum():.0f}"
        axes.bar(at, values, bottom=bottom, width=0.6, color=COLOURS[place], label=label)
        bottom += values
    furthest = [number(row, "largest_step_size") for row in rows]
    for place, step in enumerate(furthest):
        top = dict(xy=(at[place], bottom[place]), xytext=(0, 3), textcoords="offset points")
        axes.annotate(f"η ≤ {step:.0f}", **top, ha="center")
    axes.set_xticks(at, [f"{number(row, 'round'):.0f}" for row in rows])
    axes.set_ylim(0, 1.15 * max(bottom.max(), 1))
    legend(fig, axes)
    return fig, (
        "η is the furthest step along the gradient that was needed. In all "
        + ", ".join(
            f"{np.nansum([number(row, name) for row in rows]):.0f} {label}"
            for name, label in list(ASCENT.items())[:4]
        )
        + "."
    )

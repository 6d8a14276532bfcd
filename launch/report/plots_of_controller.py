"""What a search's controller learned and proposed, in pictures.

Each function returns a figure and its description, or None where the data are missing.
Scores are drawn in the unit of the run, see `search_folder.Unit`.
"""

import numpy as np

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

ASCENT = {  # counts of decoded architectures
    "decoded_new": "new",
    "mutants_new": "mutants, proposed",
    "decoded_repeated": "known before",
    "decoded_beyond_limit": "beyond the limit",
    "decoded_invalid": "invalid",
    "filled_at_random": "drawn at random instead",
}


def predictions(run):
    """Predicted against measured scores of architectures that the fit had not seen."""
    rounds, factor = [], run.unit.factor
    for row in run.rounds:
        pair = numbers(row, "held_out_scores"), numbers(row, "held_out_predicted")
        if len(pair[0]) == len(pair[1]) > 0:
            rounds.append((number(row, "round"), *pair))
    if not rounds:
        return None
    fig, axes = figure(
        "The predictor on architectures that its fit had not seen",
        f"measured {run.unit.axis}",
        "predicted",
    )
    for place, (of_round, actual, predicted) in enumerate(rounds):
        look = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        label = f"after round {of_round:.0f}" if place < MOST_ROUNDS else None
        points(axes, factor * actual, factor * predicted, *look, s=24, label=label)
    every = factor * np.concatenate([part for _, *pair in rounds for part in pair])
    ends = [every.min(), every.max()]
    axes.plot(ends, ends, color=INK, linewidth=1, linestyle=":", label="as measured")
    legend(fig, axes)
    _, actual, predicted = rounds[-1]
    if len(actual) < 2:
        return fig, f"{len(every) // 2} architectures in {len(rounds)} rounds."
    right = 100 * pairwise_accuracy(predicted, actual)
    return fig, f"In the last of these rounds {right:.0f} % of the pairs are in the right order."


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
        "What came of moving the best architectures uphill",
        "round whose best were moved",
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
        "η is the furthest step along the gradient that was needed. Of all decoded, "
        + ", ".join(
            f"{np.nansum([number(row, name) for row in rows]):.0f} {label}"
            for name, label in list(ASCENT.items())[:4]
        )
        + "."
    )

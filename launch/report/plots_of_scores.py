"""The scores of a search in pictures.

Each function returns a figure and its description, or None where the data are missing.
Scores are drawn in the unit of the run, see `search_folder.Unit`.
"""

import numpy as np

from bnao_jax import ranking
from bnao_jax.comparison import interval
from launch.plots.style import (
    COLOURS,
    INK,
    MARKERS,
    MOST_ROUNDS,
    NUMBER,
    figure,
    legend,
    points,
    quantiles,
    whole_numbers,
)
from launch.report.damaged_json import number
from launch.report.search_folder import PERCENT

COSTS = {"params": "parameters", "macs": "multiply-adds for one image"}
LIMITS = {"params": "search.max_params", "macs": "search.max_macs"}
MEASURED = {  # of each round
    "best": "best of all so far",
    "new_best": "best of the round's own",
    "new_mean": "mean of the round's own",
    "mean": "mean of all so far",
}
ACCURACIES = {
    "accuracy_of_best": "accuracy of the best by score so far",
    "mean_accuracy": "mean accuracy of all so far",
}
GOLDEN = 0.618034  # step between consecutive points, as a share of the width
MOST_TEXTS = 12  # rounds that the description lists


def scores(run):
    """Scores of each round's architectures."""
    pool, unit = run.pool, run.unit
    scored = np.isfinite(pool.score)
    if not scored.any():
        return None
    from_scratch = run.field("supernet.from_scratch")
    fig, axes = figure(
        f"Scores by round, {'each with its own' if from_scratch else 'all with the last'} weights",
        "round that an architecture was proposed for",
        unit.axis,
    )
    born = np.unique(pool.round[scored])
    groups = [unit.factor * pool.score[scored & (pool.round == of_round)] for of_round in born]
    places, names = list(range(len(groups))), [str(of_round) for of_round in born]
    for place, group in zip(places, groups, strict=True):
        beside = place - 0.3 + 0.6 * (np.arange(len(group)) * GOLDEN % 1)
        points(axes, beside, group, COLOURS[0], "o", zorder=1)
    axes.boxplot(
        groups,
        positions=places,
        widths=0.66,
        showfliers=False,
        manage_ticks=False,
        boxprops=dict(color=INK),
        whiskerprops=dict(color=INK),
        capprops=dict(color=INK),
        medianprops=dict(color=INK, linewidth=2),
    )
    best = np.maximum.accumulate([group.max() for group in groups])
    axes.plot(range(len(born)), best, color=COLOURS[2], marker="^", label="best so far")
    shown = places if len(places) <= 20 else places[:: len(places) // 10]
    axes.set_xticks(shown, [names[place] for place in shown])
    legend(fig, axes)
    titles = [f"round {name}" for name in names]
    texts = [
        f"{title}: {quantiles(group, unit.digits)}{unit.sign}"
        for title, group in zip(titles, groups, strict=True)
    ]
    return fig, f"Boxes are quartiles, points architectures. {'; '.join(texts[-MOST_TEXTS:])}."


def against_random(run):
    """Accuracies of the networks that were trained alone to be compared, and their means."""
    groups = {}
    for group, judged in run.baseline:
        groups.setdefault(group, []).append(100 * judged)
    if len(groups) < 2:
        return None
    fig, axes = figure(
        "Found and random architectures, trained alone and alike",
        "",
        "accuracy on images that judge, %",
    )
    texts = []
    for place, (name, values) in enumerate(groups.items()):
        beside = place - 0.1 + 0.2 * (np.arange(len(values)) * GOLDEN % 1)
        points(axes, beside, np.array(values), COLOURS[min(place, 1)], "o")
        mean, low, high = interval(values)
        axes.errorbar(
            place + 0.25,
            mean,
            yerr=None if np.isnan(low) else [[mean - low], [high - mean]],
            color=INK,
            marker="_",
            markersize=14,
            capsize=4,
        )
        texts.append(f"{name}: {', '.join(f'{value:.1f}' for value in values)} %")
    axes.set_xticks(range(len(groups)), list(groups))
    axes.set_xlim(-0.5, len(groups) - 0.5)
    return fig, (
        f"Points are networks, bars their mean with its 95 % t-interval. {'; '.join(texts)}."
    )


def measured(run):
    """Best and mean score of each round, as it was measured then."""
    rounds = [row for row in run.rounds if np.isfinite(number(row, "mean"))]
    if not rounds:
        return None
    # A score that includes the size is standardised within its round: rounds cannot be compared.
    standardised = run.unit.kind.endswith("_and_size")
    unit, lines = (PERCENT, ACCURACIES) if standardised else (run.unit, MEASURED)
    fig, axes = figure("Scores as each round measured them", "round", unit.axis)
    at = [number(row, "round") for row in rounds]
    for place, (name, label) in enumerate(lines.items()):
        values = [unit.factor * number(row, name) for row in rounds]
        axes.plot(at, values, marker=MARKERS[place], color=COLOURS[place], label=label)
    whole_numbers(axes.xaxis)
    legend(fig, axes)
    *_, mean = lines
    first, last = (unit.format(number(row, mean)) for row in (rounds[0], rounds[-1]))
    return fig, f"The mean of all went from {first} to {last}."


def cost(run, name):
    """Scores against a cost, the Pareto front and the limit."""
    pool, unit = run.pool, run.unit
    costs, scored = getattr(pool, name), np.isfinite(pool.score)
    if not scored.any():
        return None
    fig, axes = figure(f"Score against {COSTS[name]}", COSTS[name], unit.axis)
    rounds = np.unique(pool.round[scored])
    for place, of_round in enumerate(rounds if len(rounds) <= MOST_ROUNDS else [None]):
        mask = scored if of_round is None else scored & (pool.round == of_round)
        label = "architectures" if of_round is None else f"round {of_round}"
        look = COLOURS[place], MARKERS[place]
        points(axes, costs[mask], unit.factor * pool.score[mask], *look, label=label)
    front = pareto(costs, pool.score)
    axes.plot(
        costs[front],
        unit.factor * pool.score[front],
        color=INK,
        linewidth=1,
        marker="o",
        markersize=7,
        markerfacecolor="none",
        drawstyle="steps-post",
        label="Pareto front",
    )
    if limit := run.field(LIMITS[name]):
        axes.axvline(limit, color=COLOURS[1], linestyle="--", label=f"limit {limit:,}")
    axes.xaxis.set_major_formatter(NUMBER)
    axes.tick_params("x", labelrotation=20)
    legend(fig, axes)
    return fig, (
        f"{len(front)} of {scored.sum()} architectures are on the Pareto front, from "
        f"{costs[front[0]]:,} {COSTS[name]} at {unit.format(pool.score[front[0]])} to "
        f"{costs[front[-1]]:,} at {unit.format(pool.score[front[-1]])}."
    )


def pareto(costs, scores) -> np.ndarray:
    """Rows [F] of the architectures that score higher than all cheaper ones, cheapest first."""
    order = np.lexsort((-scores, costs))
    order = order[np.isfinite(scores[order])]
    above = np.concatenate([[-np.inf], np.maximum.accumulate(scores[order])[:-1]])
    return order[scores[order] > above]


def comparison(runs):
    """How accurate the best of several searches is, round by round."""
    fig, axes = figure("Accuracy of the best so far, as measured", "round", PERCENT.axis)
    for place, run in enumerate(runs):
        name = "best" if run.unit.kind == "accuracy" else "accuracy_of_best"
        rows = [row for row in run.rounds if np.isfinite(number(row, name))]
        axes.plot(
            [number(row, "round") for row in rows],
            [PERCENT.factor * number(row, name) for row in rows],
            marker=MARKERS[place % len(MARKERS)],
            color=COLOURS[place % len(COLOURS)],
            label=run.name[:40],
        )
    whole_numbers(axes.xaxis)
    legend(fig, axes)
    return fig, f"{len(runs)} searches."


def truth(run, accuracies):
    """Scores against known accuracies float64[P] of the pool."""
    scored = np.isfinite(run.pool.score)
    if not scored.any():
        return None
    fig, axes = figure("Score against known accuracy", "known accuracy, %", run.unit.axis)
    points(axes, 100 * accuracies[scored], run.unit.factor * run.pool.score[scored], COLOURS[0])
    right = 100 * ranking.pairwise_accuracy(run.pool.score[scored], accuracies[scored])
    return fig, f"{right:.0f} % of the pairs are in the right order."

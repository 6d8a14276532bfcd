"""The pictures of comparisons."""

import numpy as np
from matplotlib.figure import Figure

from launch.plots.style import plain_figure


def found(result):
    """What is found over the evaluations of a search: median and quartiles of each strategy.

    `result` is what comparison.json holds: regrets where the best of a table is known, values else.
    """
    regret = result["best_of_table"] is not None
    kind, unit = ("regret", 100) if regret else ("final", 1)
    figure, axes = plain_figure(
        f"What is found: medians and quartiles of {result['seeds']} searches",
        "architectures evaluated",
        "regret of the best found, points of test accuracy"
        if regret
        else "value of the best found (random ones: 0 ± 1)",
    )
    for number, (name, row) in enumerate(result["strategies"].items()):
        low, median, high = unit * np.array(row[kind])
        evaluations = np.arange(1, len(median) + 1)
        axes.fill_between(evaluations, low, high, color=f"C{number}", alpha=0.15, linewidth=0)
        axes.plot(evaluations, median, color=f"C{number}", label=name)
    axes.set_xlim(1, len(median))
    if regret:
        # Strategies differ in the last tenths; linear below one tenth, so that 0 is seen.
        axes.set_yscale("symlog", linthresh=0.1)
        ticks = (0, 0.1, 0.3, 1, 3, 10, 30)
        axes.set_yticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        highest = max(100 * row["regret"][2][0] for row in result["strategies"].values())
        axes.set_ylim(0, 1.1 * highest)
    axes.legend(title="strategy")
    return figure


def systems(result):
    """Accuracies of the systems, a point a seed, and their differences to one of them by seed.

    `result` is what comparison.json holds. Bars are means with their 95 % t-intervals.
    """
    names, against = list(result["systems"]), result["against"]
    fig = Figure(figsize=(10, 1.6 + 0.5 * len(names)), layout="constrained")
    left, right = fig.subplots(1, 2, sharey=True)
    for place, name in enumerate(names):
        row = result["systems"][name]
        _mean(left, place, row["mean"], row)
        shift = np.linspace(-0.25, 0.25, len(row["of_seeds"]))
        left.scatter(100 * np.array(row["of_seeds"]), place + shift, s=14, color="C0", zorder=3)
        if (pair := result["pairs"].get(f"{name} - {against}")) is not None:
            by_seed = np.subtract(row["of_seeds"], result["systems"][against]["of_seeds"])
            right.scatter(100 * by_seed, place + shift, s=14, color="C0", zorder=3)
            _mean(right, place, pair["difference"], pair)
            right.annotate(
                pair["verdict"],
                **dict(xy=(1.02, place), xycoords=("axes fraction", "data"), va="center"),
            )
    right.axvline(0, color="black", linewidth=0.8)
    left.set_yticks(range(len(names)), names)
    left.invert_yaxis()
    networks, seeds = result["networks"], result["seeds"]
    left.set_xlabel(f"test accuracy, %: mean of {networks} networks trained alone")
    right.set_xlabel(f"the same less that of {against!r} of the same seed, points")
    left.set_title(f"{seeds} seeds, one point each")
    right.set_title("differences by seed: is 0 within the interval?")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
    return fig


def _mean(axes, place, mean, row):
    """A mean and its interval, if it has one."""
    reach = None
    if row["low"] is not None:
        reach = [[100 * (mean - row["low"])], [100 * (row["high"] - mean)]]
    axes.errorbar(
        100 * mean,
        place,
        xerr=reach,
        **dict(color="black", marker="|", markersize=16, capsize=4, zorder=2),
    )

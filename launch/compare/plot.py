"""The picture of a comparison."""

import numpy as np

from launch.plots.style import plain_figure


def regret(result):
    """Median regret over the evaluations of a search, a line with its quartiles for each strategy.

    `result` is what comparison.json holds.
    """
    figure, axes = plain_figure(
        f"What is found on the table: medians and quartiles of {result['seeds']} searches",
        "architectures evaluated",
        "regret of the best found, points of test accuracy",
    )
    for number, (name, row) in enumerate(result["strategies"].items()):
        low, median, high = 100 * np.array(row["regret"])
        evaluations = np.arange(1, len(median) + 1)
        axes.fill_between(evaluations, low, high, color=f"C{number}", alpha=0.15, linewidth=0)
        axes.plot(evaluations, median, color=f"C{number}", label=name)
    axes.set_xlim(1, len(median))
    # Strategies differ in the last tenths of a point; linear below one tenth, so that 0 is seen.
    axes.set_yscale("symlog", linthresh=0.1)
    axes.set_yticks((0, 0.1, 0.3, 1, 3, 10, 30), labels=("0", "0.1", "0.3", "1", "3", "10", "30"))
    axes.set_ylim(0, 1.1 * max(100 * row["regret"][2][0] for row in result["strategies"].values()))
    axes.legend(title="strategy")
    return figure

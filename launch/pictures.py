"""Pictures of rankings and trainings, for reading rather than for computing."""

import numpy as np
from matplotlib import colors, ticker
from matplotlib.figure import Figure

from bnao_jax import ranking
from bnao_jax.score import KINDS
from launch.drawing import NUMBER

SIZE_CLASSES = 10  # of equally many architectures
LOWEST_LEFT_OUT = 0.03  # of all, in the picture of scores
STUDY_LINES = {"diverse": "-", "similar": "--"}


def write(folder, **figures):
    """Writes each figure as NAME.png."""
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=150)


def _figure(title, horizontal, vertical):
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel=horizontal, ylabel=vertical)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    return figure, axes


def score_against_truth(scores, truth, params, *, name):
    """Each architecture's score [P] against its true accuracy [P] (0..1), coloured by size."""
    tau = ranking.kendall_tau(scores, truth)
    label = f"{KINDS[name]} with shared weights"
    figure, axes = _figure(
        f"Score against truth, first supernet: Kendall's tau b {tau:.3f}",
        *("true test accuracy, %", label),
    )
    points = axes.scatter(
        *(100 * truth, scores, 6, params),
        **dict(cmap="viridis", norm=colors.LogNorm(), alpha=0.7, linewidths=0),
    )
    # The few that learn nothing would press all others into a corner.
    left, right = 100 * np.quantile(truth, LOWEST_LEFT_OUT), 100 * truth.max()
    if hidden := int(np.sum(100 * truth < left)):
        axes.set_xlim(left - 0.5, right + 0.5)
        axes.set_xlabel(f"true test accuracy, % ({hidden} below {left:.0f} % are not shown)")
    bar = figure.colorbar(points, label="parameters")
    bar.ax.yaxis.set_major_formatter(NUMBER)
    bar.ax.yaxis.set_minor_formatter(NUMBER)
    return figure


def correlation_over_training(steps, taus, baseline):
    """Kendall's tau of each score over the steps, beside that of the size alone."""
    figure, axes = _figure(
        "Rank correlation over training", "training steps of a supernet", "Kendall's tau b"
    )
    for (name, points), marker in zip(taus.items(), "os", strict=True):
        means = [point["mean"] for point in points]
        errors = [point["standard_error"] or 0.0 for point in points]
        axes.errorbar(steps, means, errors, marker=marker, capsize=3, label=f"by {name}")
    axes.axhline(baseline, color="grey", linestyle="--", label="by parameters alone")
    axes.set_xlim(left=0)
    axes.legend(title="± standard error over supernets")
    return figure


def trained_by_size(params, trained, sampler):
    """How often architectures of each size class were trained: [P] and int[seeds, P]."""
    order = np.argsort(params, kind="stable")
    classes = np.array_split(order, min(SIZE_CLASSES, len(order)))
    means = [trained[:, rows].mean() for rows in classes]
    labels = [f"{params[rows].min():,}–{params[rows].max():,}" for rows in classes]
    figure, axes = _figure(
        f"How often each size was trained (sampler: {sampler})",
        f"parameters; {len(classes)} classes of equally many architectures",
        "times an architecture was trained, mean",
    )
    axes.bar(range(len(classes)), means)
    axes.set_xticks(range(len(classes)), labels, rotation=45, ha="right")
    return figure


def study(tables):
    """Pairwise accuracy over the length of training, a line for each row of a study's tables.

    `tables` is `by` of study.json: for each kind of score the cells.
    """
    figure = Figure(figsize=(5 * len(tables), 5), layout="constrained")
    figure.suptitle("Pairs that shared weights and networks alone put in the same order")
    first = None
    for place, (score, table) in enumerate(tables.items()):
        axes = figure.add_subplot(
            *(1, len(tables), place + 1),
            **dict(title=f"by {score}", xlabel="epochs of a supernet", sharey=first),
            ylabel="pairwise accuracy, %",
        )
        first = first or axes
        axes.grid(alpha=0.3)
        _draw_study(axes, table["cells"])
        axes.axhline(50, color="grey", linestyle=":", label="chance")
        axes.set_xlim(left=0)
    lines, labels = axes.get_legend_handles_labels()
    title = "± standard error over supernets; lines are set apart by a little"
    figure.legend(lines, labels, loc="outside lower center", ncols=3, title=title)
    return figure


def _draw_study(axes, cells):
    rows = {}
    for cell in cells:
        rows.setdefault((cell["sizes"], cell["sampler"]), []).append(cell)
    samplers = list(dict.fromkeys(sampler for _, sampler in rows))
    apart = 0.008 * max(cell["epochs"] for cell in cells)
    for number, ((sizes, sampler), row) in enumerate(rows.items()):
        axes.errorbar(
            [cell["epochs"] + apart * (number - (len(rows) - 1) / 2) for cell in row],
            [100 * cell["pairwise_accuracy"] for cell in row],
            [100 * (cell["standard_error"] or 0.0) for cell in row],
            **dict(marker="o", markersize=4, capsize=2, label=f"{sizes} sizes, {sampler}"),
            **dict(color=f"C{samplers.index(sampler)}", linestyle=STUDY_LINES[sizes]),
        )


def regret(result):
    """Median regret over the evaluations of a search, a line with its quartiles for each strategy.

    `result` is what comparison.json holds.
    """
    figure, axes = _figure(
        f"What is found on the table: medians and quartiles of {result['seeds']} searches",
        *("architectures evaluated", "regret of the best found, points of test accuracy"),
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


def training(epochs):
    """Loss and accuracy over the epochs of a training.

    `epochs` is float64[E, 5]: epoch, training loss and accuracy, validation loss and accuracy (NaN
    where not evaluated).
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    number, known = epochs[:, 0], np.isfinite(epochs[:, 3])
    for place, (name, unit, scale) in enumerate((("Loss", "nats", 1), ("Accuracy", "%", 100))):
        axes = figure.add_subplot(
            1, 2, place + 1, title=name, xlabel="epoch", ylabel=f"{name.lower()}, {unit}"
        )
        axes.grid(alpha=0.3)
        axes.plot(number, scale * epochs[:, 1 + place], label="training images, augmented")
        if known.any():
            values = scale * epochs[known, 3 + place]
            axes.plot(number[known], values, marker="o", markersize=3, label="validation images")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        axes.legend()
    return figure

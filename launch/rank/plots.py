"""Pictures of a ranking and of a study, for reading rather than for computing."""

import numpy as np
from matplotlib import colors
from matplotlib.figure import Figure

from bnao_jax import ranking
from bnao_jax.objective import KINDS
from launch.plots.style import NUMBER, plain_figure

SIZE_CLASSES = 10  # of equally many architectures
LOWEST_LEFT_OUT = 0.03  # of all, in the picture of scores
STUDY_LINES = {"diverse": "-", "similar": "--"}


def score_against_truth(scores, truth, params, *, name):
    """Each architecture's score [P] against its true accuracy [P] (0..1), coloured by size."""
    tau = ranking.kendall_tau(scores, truth)
    figure, axes = plain_figure(
        f"Score against truth, first supernet: Kendall's tau b {tau:.3f}",
        "true test accuracy, %",
        f"{KINDS[name]} with shared weights",
    )
    points = axes.scatter(
        100 * truth,
        scores,
        s=6,
        c=params,
        cmap="viridis",
        norm=colors.LogNorm(),
        alpha=0.7,
        linewidths=0,
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
    figure, axes = plain_figure(
        "Rank correlation over training", "training steps of a supernet", "Kendall's tau b"
    )
    for (name, points), marker in zip(taus.items(), "os", strict=True):
        means = [point["mean"] for point in points]
        errors = [point["reach_95"] or 0.0 for point in points]
        axes.errorbar(steps, means, errors, marker=marker, capsize=3, label=f"by {name}")
    axes.axhline(baseline, color="grey", linestyle="--", label="by parameters alone")
    axes.set_xlim(left=0)
    axes.legend(title="± 95 % t-interval over supernets")
    return figure


def trained_by_size(params, trained, sampler):
    """How often architectures of each size class were trained: [P] and int[seeds, P]."""
    order = np.argsort(params, kind="stable")
    classes = np.array_split(order, min(SIZE_CLASSES, len(order)))
    means = [trained[:, rows].mean() for rows in classes]
    labels = [f"{params[rows].min():,}–{params[rows].max():,}" for rows in classes]
    figure, axes = plain_figure(
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
            1,
            len(tables),
            place + 1,
            sharey=first,
            title=f"by {score}",
            xlabel="epochs of a supernet",
            ylabel="pairwise accuracy, %",
        )
        first = first or axes
        axes.grid(alpha=0.3)
        _draw_study(axes, table["cells"])
        axes.axhline(50, color="grey", linestyle=":", label="chance")
        axes.set_xlim(left=0)
    lines, labels = axes.get_legend_handles_labels()
    title = "± 95 % t-interval over supernets; lines are set apart by a little"
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
            [100 * (cell["reach_95"] or 0.0) for cell in row],
            color=f"C{samplers.index(sampler)}",
            linestyle=STUDY_LINES[sizes],
            marker="o",
            markersize=4,
            capsize=2,
            label=f"{sizes} sizes, {sampler}",
        )

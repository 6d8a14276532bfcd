"""What a search trained, how often, and how long, in pictures.

Each function returns a figure and its description, or None where the data are missing.
"""

import numpy as np

from launch.plots.style import COLOURS, MOST_ROUNDS, NUMBER, figure, legend, points, quantiles
from launch.report.damaged_json import number


def losses(run):
    """Training loss of the shared weights over all rounds."""
    rows = [row for row in run.training if np.isfinite(number(row, "loss"))]
    if not rows:
        return None
    fig, axes = figure(
        "Training loss of the shared weights",
        "training step, rounds one after another",
        "training loss, nats",
    )
    before, rounds = 0.0, sorted({number(row, "round") for row in rows})
    for place, of_round in enumerate(rounds):
        part = [row for row in rows if number(row, "round") == of_round]
        steps = np.array([number(row, "step") for row in part])
        values = [number(row, "loss") for row in part]
        look = dict(color=COLOURS[place % len(COLOURS)], linewidth=1, marker=".", markersize=3)
        axes.plot(before + steps, values, **look, label=f"round {of_round:.0f}")
        before += np.nanmax(np.append(steps, 0.0))
    axes.xaxis.set_major_formatter(NUMBER)
    axes.set_xlim(left=0)
    if len(rounds) <= MOST_ROUNDS:
        legend(fig, axes)
    return fig, f"{len(rows)} means over some steps each; the last is {values[-1]:.3f} nats."


def balance(run, of_round, expected):
    """Steps that trained each architecture of a round against its size, and what was expected.

    `expected` is float64[P] over the whole pool (Eq. 4), None where the rule is not known.
    """
    pool = run.pool
    mask = (pool.round == of_round) & (pool.params > 0)
    steps = pool.trained[mask].sum()
    if not steps:
        return None
    sampler = run.field("supernet.sampler") or "unknown sampler"
    fig, axes = figure(
        f"{run.name}: training in round {of_round} ({sampler})",
        "parameters",
        "steps that trained an architecture",
    )
    params, trained = pool.params[mask], pool.trained[mask]
    points(axes, params, trained, COLOURS[0], label="architectures")
    text = f"{mask.sum()} architectures shared {steps} steps: {quantiles(trained)}."
    if expected is not None:
        order = np.argsort(params, kind="stable")
        means = expected[mask][order]
        spread = 2 * np.sqrt(means * (1 - means / steps))
        axes.plot(params[order], means, color=COLOURS[1], label="expected (Eq. 4)")
        band = (params[order], np.maximum(means - spread, 0), means + spread)
        look = dict(color=COLOURS[1], alpha=0.2, linewidth=0)
        axes.fill_between(*band, **look, label="± 2 standard deviations")
        within = np.mean(np.abs(trained[order] - means) <= spread)
        text += f" {100 * within:.0f} % of them lie within two standard deviations of Eq. 4."
    axes.xaxis.set_major_formatter(NUMBER)
    axes.set_ylim(bottom=0)
    legend(fig, axes)
    return fig, text


def times(seconds):
    """Seconds of each part of a search; `seconds` is a dict."""
    parts = {name: value for name, value in seconds.items() if name != "compilation"}
    if not parts:
        return None
    fig, axes = figure("Where the time went", "seconds", "part of the search")
    axes.barh(list(parts), list(parts.values()), color=COLOURS[0])
    axes.bar_label(axes.containers[0], [f"{value:,.0f}" for value in parts.values()], padding=3)
    axes.margins(x=0.12)
    axes.invert_yaxis()
    return fig, ", ".join(f"{name} {value:,.0f} s" for name, value in parts.items()) + "."

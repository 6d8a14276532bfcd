"""The tables of a report."""

import math
from typing import NamedTuple

import numpy as np

from launch.findings import chosen, percent
from launch.records import number, text

LONGEST_VALUE = 200  # characters of a field that is shown


class Table(NamedTuple):
    """A table: its rows begin with their name. A folded one is shown when asked for."""

    caption: str
    head: list
    rows: list
    folded: bool = False


def compared(runs) -> list[Table]:
    """One row a search, as in the paper's Table 7; then mean and spread of each kind of search."""
    rows, groups = [], {}
    for run in runs:
        kind = f"{run.field('search.strategy')}, {run.field('supernet.sampler')}"
        best, control = chosen(run)[:1], chosen(run, "control")[:1]
        alone = best[0].alone if best else math.nan
        rows.append(
            [
                *(run.name, kind, str(run.field("seed")), str(len(run.pool.texts))),
                percent(best[0].score) if best else "unknown",
                *(percent(alone), f"{100 * (1 - alone):.1f} %" if alone == alone else "unknown"),
                percent(control[0].alone) if control else "unknown",
                f"{best[0].params:,}" if best else "unknown",
                f"{sum(_parts(seconds_of(run)).values()) / 3600:.2f}",
            ]
        )
        groups.setdefault(kind, []).append((best[0].score if best else math.nan, alone))
    head = ["search", "strategy, sampler", "seed", "architectures", "best score, shared weights"]
    head += ["trained alone", "error alone", "control alone", "parameters of the best", "hours"]
    spread = [[kind, str(len(own)), *_spread(own)] for kind, own in groups.items()]
    return [
        Table("Searches", head, rows),
        Table(
            "Mean and spread",
            *(["strategy, sampler", "searches", "best score, shared weights", "trained alone"],),
            spread,
        ),
    ]


def _spread(values):
    """Mean ± standard deviation of each column, in percent, of what is known."""
    for column in np.array(values, np.float64).T:
        known = 100 * column[np.isfinite(column)]
        if not len(known):
            yield "unknown"
        elif len(known) == 1:
            yield f"{known[0]:.2f} %, one search"
        else:
            yield f"{known.mean():.2f} ± {known.std(ddof=1):.2f} %"


def seconds_of(run) -> dict[str, float]:
    """Seconds of each part of a search, as far as it has written them."""
    found = run.result.get("seconds")
    found = found if isinstance(found, dict) else {}
    return {name: number(found, name) for name in found if number(found, name) >= 0}


def _parts(seconds):
    return {name: value for name, value in seconds.items() if name != "compilation"}


def rates(run) -> list[Table]:
    """Steps a second of each round, without the first of its rows, which may compile."""
    rows = []
    for of_round in sorted({number(row, "round") for row in run.training}):
        own = [row for row in run.training if number(row, "round") == of_round]
        steps, times = ([number(row, name) for row in own] for name in ("step", "seconds"))
        took = times[-1] - times[0]
        rate = f"{(steps[-1] - steps[0]) / took:.1f}" if took > 0 else "unknown"
        rows.append([f"{of_round:.0f}", f"{steps[-1]:,.0f}", rate])
    return [Table("Speed", ["round", "steps", "steps a second"], rows)] if rows else []


def machine_of(run) -> list[Table]:
    """Seconds, devices and versions."""
    rows = [["seed", run.field("seed")]]
    rows += [[f"seconds: {name}", f"{value:,.1f}"] for name, value in seconds_of(run).items()]
    for name in ("platform", "device", "devices", "processes", "cores"):
        value = run.machine.get(name)
        if isinstance(value, str | int):
            rows.append([name, value])
    found = run.machine.get("versions") or run.result.get("versions")
    for name in found if isinstance(found, dict) else ():
        rows.append([f"version: {name}", text(found, name) or "unknown"])
    rows = [[_shown(name), _shown(value)] for name, value in rows if value is not None]
    note = "; compilation is within the other parts" if "compilation" in seconds_of(run) else ""
    return [Table(f"What it ran on and took{note}", ["what", "value"], rows)]


def config_of(run) -> list[Table]:
    """Every field of the config."""
    rows = [[_shown(name), _shown(value)] for name, value in run.config.items()]
    return [Table("The config", ["field", "value"], rows, folded=True)] if rows else []


def _shown(value):
    shown = str(value)
    return shown if len(shown) <= LONGEST_VALUE else f"{shown[:LONGEST_VALUE]}…"

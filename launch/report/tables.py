"""The tables of a report."""

import json
import math
from typing import NamedTuple

import numpy as np

from launch.report.damaged_json import number, text
from launch.report.facts import chosen, comparisons, percent
from launch.run.workdir import FREE

LONGEST_VALUE = 200  # characters of a field that is shown
MOST_FIELDS = 4  # fields in the name of a kind of search
IN_NAME = ("search.strategy", "supernet.sampler")
# Fields that may differ within a kind; another path may hold other images or latencies.
MAY_DIFFER = {"seed", *FREE} - {"data.path", "search.latencies"}


class Table(NamedTuple):
    """A table: its rows begin with their name. A folded one is shown when asked for."""

    caption: str
    head: list
    rows: list
    folded: bool = False


def compared(runs) -> list[Table]:
    """A row for each search, as in the paper's Table 7; then mean and spread of each kind."""
    rows, groups = [], {}
    for run, (key, kind) in zip(runs, kinds(runs), strict=True):
        best, against = chosen(run)[:1], "unknown"
        for row in comparisons(run)[:1]:
            against = f"{100 * row.difference:+.1f}, {row.verdict}"
        standalone = best[0].standalone if best else math.nan
        seconds = sum(s for part, s in seconds_of(run).items() if part != "compilation")
        rows.append(
            [
                run.name,
                kind if run.result else f"{kind}; not finished",
                str(run.field("seed")),
                str(len(run.pool.texts)),
                percent(best[0].accuracy) if best else "unknown",
                percent(standalone),
                f"{100 * (1 - standalone):.1f} %" if standalone == standalone else "unknown",
                against,
                f"{best[0].params:,}" if best else "unknown",
                f"{seconds / 3600:.2f}",
            ]
        )
        if run.result:
            of_kind = groups.setdefault(key, (kind, []))[1]
            of_kind.append((best[0].accuracy if best else math.nan, standalone))
    head = ["search", "kind", "seed", "architectures", "accuracy of the best, shared weights"]
    head += [
        "trained alone",
        "error alone",
        "found - random, points",
        "parameters of the best",
        "hours",
    ]
    spread = [[kind, str(len(values)), *_spread(values)] for kind, values in groups.values()]
    tables = [Table("Searches", head, rows)]
    if spread:
        head = ["kind", "searches", "accuracy of the best, shared weights", "trained alone"]
        tables.append(Table("Mean and spread", head, spread))
    return tables


def kinds(runs) -> list[tuple[str, str]]:
    """(key, name) of the kind of each search; searches that differ in the seed alone share a kind.

    The name holds the strategy, the sampler, and the fields that differ from other kinds with the
    same strategy and sampler. A search without a config is a kind of its own.
    """
    configs = [{n: value for n, value in run.config.items() if n not in MAY_DIFFER} for run in runs]
    names = [", ".join(str(run.field(n) or "unknown") for n in IN_NAME) for run in runs]
    pairs = []
    for place, (config, name) in enumerate(zip(configs, names, strict=True)):
        others = [other for other, called in zip(configs, names, strict=True) if called == name]
        key = json.dumps(config, sort_keys=True) if config else str(place)
        pairs.append((key, ", ".join([name, *_differing(config, others)])))
    return pairs


def _differing(config, others):
    """The first fields in which a config differs from any of others, in words."""
    names = dict.fromkeys(name for other in others for name in other)
    differing = [n for n in names if any(other.get(n) != config.get(n) for other in others)]
    words = [_shown(f"{name}={config.get(name, 'unknown')}") for name in differing[:MOST_FIELDS]]
    left = len(differing) - len(words)
    return [*words, f"{left} other fields"] if left else words


def _spread(values):
    """Mean ± standard deviation of each column, in percent, over the finite values."""
    for column in np.array(values, np.float64).T:
        finite = 100 * column[np.isfinite(column)]
        if not len(finite):
            yield "unknown"
        elif len(finite) == 1:
            yield f"{finite[0]:.2f} %, one search"
        else:
            yield f"{finite.mean():.2f} ± {finite.std(ddof=1):.2f} %"


def seconds_of(run) -> dict[str, float]:
    """Seconds of each part of a search, as far as it has written them."""
    seconds = run.result.get("seconds")
    seconds = seconds if isinstance(seconds, dict) else {}
    return {name: number(seconds, name) for name in seconds if number(seconds, name) >= 0}


def rates(run) -> list[Table]:
    """Steps a second of each round, without the first of its rows, which may compile."""
    rows = []
    for of_round in sorted({number(row, "round") for row in run.training}):
        part = [row for row in run.training if number(row, "round") == of_round]
        steps, times = ([number(row, name) for row in part] for name in ("step", "seconds"))
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
    versions = run.machine.get("versions") or run.result.get("versions")
    for name in versions if isinstance(versions, dict) else ():
        rows.append([f"version: {name}", text(versions, name) or "unknown"])
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

"""What was measured: a figure with its spread, and figures as JSON lines and as tables."""

import json
import statistics
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table


class Figure(NamedTuple):
    """Something measured several times, in `unit`."""

    figure: str
    values: list
    unit: str
    setting: dict

    def row(self):
        """A dict of `figure, median, min, max, repeats, unit, setting`."""
        return {
            "figure": self.figure,
            "median": statistics.median(self.values),
            "min": min(self.values),
            "max": max(self.values),
            "repeats": len(self.values),
            "unit": self.unit,
            "setting": self.setting,
        }


def publish(figures, *, as_table):
    """Prints figures as they come, one JSON object a line, and as a table on standard error.

    With `as_table` a Markdown table at the end takes the place of the lines.
    """
    rows = []
    for figure in figures:
        rows.append(figure.row())
        if not as_table:
            print(json.dumps(rows[-1]), flush=True)
    if as_table:
        print(markdown(rows))
    show(rows)


def markdown(rows) -> str:
    """The rows as a Markdown table."""
    lines = ["| figure | median | min | max | repeats | unit |", "|---|---|---|---|---|---|"]
    for row in rows:
        numbers = (f"{row[name]:.4g}" for name in ("median", "min", "max"))
        cells = row["figure"], *numbers, str(row["repeats"]), row["unit"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def show(rows):
    """Prints the rows as a table on standard error."""
    table = Table(title="Benchmark", box=box.SIMPLE, padding=0)
    table.add_column("figure", overflow="fold")
    for name in ("median", "min", "max", "repeats"):
        table.add_column(name, justify="right")
    table.add_column("unit")
    for row in rows:
        numbers = (f"{row[name]:.4g}" for name in ("median", "min", "max", "repeats"))
        table.add_row(row["figure"], *numbers, row["unit"])
    Console(stderr=True).print(table)

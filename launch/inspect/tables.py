"""What a search space costs, and one architecture layer by layer, for a reader."""

import pathlib

import jax
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from bnao_jax.cost import QUANTILES, Layer, spread
from launch.command import UsageError
from launch.inputs import latencies
from launch.plots import cells as cell_pictures
from launch.plots import style

PICTURES = (".png", ".svg", ".pdf")
LIMITS = ("max_params", "max_macs", "max_cost", "max_latency")  # not every job has all
WIDTH = 120  # characters of a line that is not for a terminal


def show_space(plan, space, image_shape, size):
    """Prints the costs of random architectures, and the share within the limits of a search."""
    pool = np.asarray(space.decisions.random(jax.random.key(0), size))
    search, accept = plan.settings.search, None
    if search is not None and limits_of(search):
        latency_of = None
        if getattr(search, "max_latency", None) is not None:
            latency_of = latencies.load_latencies(search, space, image_shape).predict
        accept = plan.limit(space, image_shape, latency_of)
    table = _table(f"{size:,} random architectures of {space.decisions.name}", "cost", *QUANTILES)
    for name, values in spread(space.cost(pool, image_shape)).items():
        table.add_row(name, *(f"{value:,}" for value in values))
    if space.own_cost is not None:
        values = np.quantile(space.own_cost(pool, image_shape), list(QUANTILES.values()))
        table.add_row("own cost", *(f"{value:,.0f}" for value in values))
    _print(table)
    if accept is not None:
        share = float(np.mean(accept(pool)))
        doubt = "" if share else "; a search would hardly find an architecture"
        print(f"Within {limits_of(search)}: {100 * share:.2f} %{doubt}")


def limits_of(search) -> str:
    """The limits of a search's settings in words; "" without any."""
    limits = {name: getattr(search, name, None) for name in LIMITS}
    return ", ".join(
        f"config.search.{name}={value}" for name, value in limits.items() if value is not None
    )


def show_layers(space, image_shape, architecture):
    """Prints a table of the layers of an architecture [D]: output, parameters, multiply-adds."""
    wires = space.wires(architecture)
    table = _table(
        f"{space.decisions.format(architecture)}, images {_shape(image_shape)}",
        "layer",
        "operation",
        "output",
        "parameters",
        "multiply-adds",
    )
    params = macs = 0
    for layer in space.layers(architecture[None], image_shape):
        layer = Layer(layer.name, *map(_first, layer[1:4]), layer.wire)
        params, macs = params + layer.params, macs + layer.macs
        if layer.wire is not None or layer.params or layer.macs or layer.name.endswith("output"):
            figures = f"{layer.params:,}", f"{layer.macs:,}"
            table.add_row(layer.name, _operation(wires, layer), _shape(layer.shape), *figures)
    table.add_section()
    table.add_row("sum", "", "", f"{params:,}", f"{macs:,}")
    _print(table)


def draw_cells(space, architecture, path):
    """Writes a picture of the cells of an architecture [D]; the ending of the name is its kind.

    Raises:
      UsageError: it cannot be written.
    """
    with style.style():
        picture = cell_pictures.cells(space.wires(architecture))
        try:
            picture.savefig(path, facecolor=style.PAPER, dpi=150)
        except OSError as error:
            raise UsageError(f"--picture={path} cannot be written: {error.strerror}") from None


def check_picture(path):
    """Raises UsageError where the name of a picture has another ending than `PICTURES`."""
    if path and pathlib.Path(path).suffix.lower() not in PICTURES:
        raise UsageError(f"--picture={path}: the name must end in one of {', '.join(PICTURES)}")


def _first(value):
    """A number, or a tuple of them, of which some are arrays [1]."""
    return tuple(map(_first, value)) if isinstance(value, tuple) else int(np.ravel(value)[0])


def _operation(wires, layer):
    """The operation of a layer and what it reads, in words."""
    if layer.wire is None:
        return ""
    kind, place = layer.wire
    wire = wires[kind][place]
    return f"{cell_pictures.label_of(wire.operation)} of {wire.source}"


def _shape(shape):
    return "×".join(map(str, shape))


def _table(title, *columns):
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for name in columns:
        figures = name in (*QUANTILES, "parameters", "multiply-adds")
        table.add_column(name, justify="right" if figures else "left", no_wrap=True)
    return table


def _print(table):
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    console.print(table)

"""Cells drawn as graphs, inputs on the left, the output on the right."""

import re

from grandalf.graphs import Edge, Graph, Vertex
from grandalf.layouts import SugiyamaLayout, VertexViewer
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from launch.plots.style import COLOURS, GREY, INK

MOST_WIRES = 80  # of a cell that is drawn
# In points: (across, down). Where a label needs more, all boxes of the picture are wider.
BOX, GAPS, MARGIN, PADDING, TITLE, LETTERS = (78, 20), (38, 10), 10, 6, 24, 8.5
PASSES = 8  # of the layout
BLUE, RED, GREEN, PURPLE, BROWN, TEAL, *_ = COLOURS
# By the first word of an operation's name.
KINDS = {"sep": BLUE, "dil": PURPLE, "nor": BLUE, "avg": GREEN, "max": BROWN, "identity": TEAL}
KINDS |= {"skip": TEAL}
NOTHING = ("zero", "none")  # operations that pass nothing on


class _Route:
    """The points at which the layout bends a line."""

    def __init__(self):
        self.bends = []

    def setpath(self, points):
        self.bends = points[1:-1]


def cells(graphs) -> Figure:
    """Cells below each other; `graphs` has the `Wire`s of each kind of cell by its name.

    Every state and every operation is a box. An input that no operation reads is marked, and joined
    to the output by a broken line.
    """
    drawn = {kind: _graph(wires) for kind, wires in graphs.items()}
    across = max(_across(label) for boxes, _ in drawn.values() for label, _ in boxes.values())
    parts = [
        (kind, boxes, *_layout(boxes, lines, across)) for kind, (boxes, lines) in drawn.items()
    ]
    sizes = [_size(places, across) for *_, places, _ in parts]
    width, height = max(size[0] for size in sizes), sum(size[1] for size in sizes)
    figure, low = Figure(figsize=(width / 72, height / 72)), height
    for (kind, boxes, places, routes), size in zip(parts, sizes, strict=True):
        low -= size[1]
        area = 0, low / height, size[0] / width, size[1] / height
        axes = figure.add_axes(area, xlim=(0, size[0]), ylim=(0, size[1]))
        axes.axis("off")
        axes.text(MARGIN, size[1] - MARGIN, title_of(kind), va="top", fontsize=11)
        for line, bends in routes.items():
            _draw_line(axes, places, bends, line, across)
        for name, (label, operation) in boxes.items():
            _draw_box(axes, places[name], across, label, operation)
    return figure


def title_of(kind) -> str:
    """The title of a kind of cell."""
    return kind.capitalize() + (" cell" if kind in ("normal", "reduction") else "")


def _across(label):
    """Width of a box, in points, that its label needs."""
    return max(BOX[0], TextPath((0, 0), label, size=LETTERS).get_extents().width + 2 * PADDING)


def _size(places, across):
    """Width and height, in points, of a cell and its title."""
    right, top = (max(place[at] for place in places.values()) for at in (0, 1))
    return right + across / 2 + MARGIN, top + BOX[1] / 2 + MARGIN + TITLE


def label_of(operation) -> str:
    """The name of an operation for a reader."""
    words = operation.removeprefix("nor_").replace("_", " ")
    return re.sub(r"(\d+)x(\d+)", r"\1×\2", words)


def _graph(wires):
    """Boxes by name, as (label, kind of operation or None), and lines (source, target, broken)."""
    boxes, lines = {}, []
    read = {wire.source for wire in wires if wire.operation}
    targets = {wire.target for wire in wires}
    for wire in wires:
        inputs = wire.source not in targets
        unread = wire.source not in read and inputs
        boxes.setdefault(wire.source, (wire.source + (" (unread)" if unread else ""), None))
        if not wire.operation:
            lines.append((wire.source, wire.target, unread))
            continue
        name = f"wire {len(lines)}"
        boxes[name] = label_of(wire.operation), wire.operation.split("_")[0]
        broken = wire.operation in NOTHING
        lines += [(wire.source, name, broken), (name, wire.target, broken)]
    for target in targets:
        boxes.setdefault(target, (target, None))
    return boxes, lines


def _layout(boxes, lines, across):
    """Places (x, y) of the boxes' middles, and the bends (x, y) of each line."""
    vertices = {name: Vertex(name) for name in boxes}
    edges = {line: Edge(vertices[line[0]], vertices[line[1]]) for line in lines}
    for vertex in vertices.values():
        vertex.view = VertexViewer(w=BOX[1], h=across)  # it lays out from the top down
    for edge in edges.values():
        edge.view = _Route()
    beside, places = 0.0, {}
    for part in Graph(list(vertices.values()), list(edges.values())).C:
        layout = SugiyamaLayout(part)
        layout.xspace, layout.yspace = GAPS[1], GAPS[0]
        layout.init_all(roots=[vertex for vertex in part.sV if not vertex.e_in()])
        layout.draw(PASSES)
        least = min(vertex.view.xy[0] for vertex in part.sV)
        turn = lambda point, by=beside - least: (
            point[1] + MARGIN,
            point[0] + by + BOX[1] / 2 + MARGIN,
        )
        for vertex in part.sV:
            places[vertex.data] = turn(vertex.view.xy)
        for edge in part.sE:
            edge.view.bends = [turn(bend) for bend in edge.view.bends]
        beside = max(y for _, y in places.values()) + GAPS[1]
    return places, {line: edge.view.bends for line, edge in edges.items()}


def _draw_line(axes, places, bends, line, across):
    """Draws a line that goes straight past boxes, and bends in the gaps between their columns."""
    source, target, broken = line
    (x, y), (to_x, to_y), half = places[source], places[target], across / 2
    past = [(x + side, y) for x, y in bends for side in (-half, half)]
    stops = [(x + half, y), *past, (to_x - half, to_y)]
    vertices, codes = stops[:1], [Path.MOVETO]
    for (x, y), (to_x, to_y) in zip(stops, stops[1:], strict=False):
        middle = (x + to_x) / 2
        vertices += [(middle, y), (middle, to_y), (to_x, to_y)]
        codes += [Path.CURVE4] * 3
    axes.add_patch(
        FancyArrowPatch(
            path=Path(vertices, codes),
            arrowstyle="-|>",
            mutation_scale=7,
            shrinkA=0,
            shrinkB=0,
            color=INK,
            linewidth=0.9,
            linestyle="--" if broken else "-",
        )
    )


def _draw_box(axes, place, across, label, kind):
    left, low = place[0] - across / 2, place[1] - BOX[1] / 2
    colour = KINDS.get(kind, GREY)
    axes.add_patch(
        FancyBboxPatch(
            (left + 3, low + 3),
            across - 6,
            BOX[1] - 6,
            boxstyle="round,pad=3",
            linewidth=1.2,
            facecolor=colour if kind else "none",
            edgecolor=colour if kind else INK,
        )
    )
    ink = "#ffffff" if kind else INK
    axes.text(*place, label, color=ink, ha="center", va="center", fontsize=LETTERS)

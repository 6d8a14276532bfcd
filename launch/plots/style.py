"""How pictures look, and how they are written.

Every picture of a report is legible on white and on near-black: lines and text take the colour of
the text around them, everything else one of `COLOURS`, which contrast with both. Pictures beside
a run's numbers (`plain_figure`, `write_png`) are black on white.
"""

import io
import re
import xml.etree.ElementTree as xml
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from bnao_jax import files

INK, PAPER = "#1b1d22", "#ffffff"
DARK_INK, DARK_PAPER = "#e6e6e6", "#16181d"
COLOURS = (
    "#1f77b4",
    "#c8403f",
    "#2a7f46",
    "#8257c2",
    "#b25a0b",
    "#117f86",
    "#c13b83",
    "#6f7378",
)
GREY = COLOURS[-1]
MARKERS = "osD^vPX*"
MANY_POINTS = 2_000  # more are written as pixels
MOST_ROUNDS = 8  # that colours can tell apart
SCALES = (0.72, 1.6)  # least and most of a picture in a page
NUMBER = ticker.FuncFormatter(lambda value, place: f"{value:,.0f}")
STYLE = {
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color"), INK),
    **dict.fromkeys(("ytick.color", "grid.color", "legend.labelcolor"), INK),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "legend.facecolor"), "none"),
    "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "bnao_jax",  # the same picture is the same file
    "text.parse_math": False,  # names of folders may hold anything
}
SVG = "http://www.w3.org/2000/svg"
LINK = "{http://www.w3.org/1999/xlink}href"
FILE_STYLE = (
    f"svg{{color:{INK};background:{PAPER}}}"
    f"@media(prefers-color-scheme:dark){{svg{{color:{DARK_INK};background:{DARK_PAPER}}}}}"
)


class Picture(NamedTuple):
    """A picture that has been written.

    Attributes:
      name: of its files, and of its parts in a page.
      title: what it shows.
      description: what can be read off it, in words.
      svg: for a page, without a size of its own.
      least_width, most_width: CSS pixels between which it may be scaled.
    """

    name: str
    title: str
    description: str
    svg: str
    least_width: int
    most_width: int


def plain_figure(title, horizontal, vertical):
    """A figure and its axes, to be written beside a run's numbers."""
    fig = Figure(figsize=(7, 4.5), layout="constrained")
    axes = fig.add_subplot(title=title, xlabel=horizontal, ylabel=vertical)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    return fig, axes


def write_png(folder, **figures):
    """Writes each figure as NAME.png."""
    for name, fig in figures.items():
        content = io.BytesIO()
        fig.savefig(content, format="png", dpi=150)
        files.write(folder / f"{name}.png", content.getvalue())


def style():
    """A context that sets the style of a report's figures."""
    return matplotlib.rc_context(STYLE)


def figure(title, horizontal, vertical):
    """A figure of a report and its axes, named with their units."""
    fig = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = fig.add_subplot(xlabel=horizontal, ylabel=vertical)
    axes.set_title(title, wrap=True)
    axes.grid()
    axes.set_axisbelow(True)
    return fig, axes


def points(axes, horizontal, vertical, colour, marker="o", **settings):
    """Draws points; where there are many, as pixels."""
    settings = {"s": 12, "alpha": 0.9, "linewidths": 0, "zorder": 3} | settings
    axes.scatter(
        horizontal,
        vertical,
        color=colour,
        marker=marker,
        rasterized=len(horizontal) > MANY_POINTS,
        **settings,
    )


def whole_numbers(axis):
    """Puts ticks at whole numbers alone."""
    axis.set_major_locator(ticker.MaxNLocator(integer=True, min_n_ticks=1))


def legend(fig, axes):
    """Puts the names of what is drawn below it, each once."""
    named = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    columns = 1 if max(map(len, named), default=0) > 40 else 2
    fig.legend(named.values(), named.keys(), loc="outside lower center", ncols=columns)


def write(folder, name, fig, title, description, *, scales=SCALES) -> Picture:
    """Writes a figure of a report as NAME.png and NAME.svg.

    Args:
      folder: of the files.
      name: of the files, without blanks.
      fig: the figure.
      title: what it shows.
      description: what can be read off it.
      scales: the least and the most, of CSS pixels to points.
    """
    # The canvases draw once; `savefig` would draw twice.
    fig.set(dpi=120, facecolor=PAPER)
    content = io.BytesIO()
    FigureCanvasAgg(fig).print_png(content)
    files.write(folder / f"{name}.png", content.getvalue())
    fig.set_layout_engine("none")  # it is laid out by now
    fig.set_facecolor("none")
    content = io.BytesIO()
    FigureCanvasSVG(fig).print_svg(content, metadata={"Date": None})
    root = xml.fromstring(content.getvalue())
    _tidy(root, f"picture-{name}", title, description)
    width = float(root.get("viewBox").split()[2])
    widths = [round(scale * width) for scale in scales]
    inline = xml.tostring(root, encoding="unicode")
    root.set("xmlns", SVG)
    css = xml.Element("style")
    css.text = FILE_STYLE
    root.insert(0, css)
    files.write(folder / f"{name}.svg", xml.tostring(root, encoding="unicode"))
    return Picture(name, title, description, inline, *widths)


def _tidy(root, prefix, title, description):
    """Makes an SVG tree fit for a page among others.

    Names get a prefix, and only those stay that are referred to; the ink becomes that of the text
    around; title and description are added.
    """
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith("}metadata"):
                parent.remove(child)
    used = set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", xml.tostring(root, encoding="unicode")))
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        if LINK in element.attrib:
            element.set("href", element.attrib.pop(LINK))
        identity = element.attrib.pop("id", None)
        if identity in used:
            element.set("id", f"{prefix}-{identity}")
        for key, value in element.attrib.items():
            if key == "href" and value.startswith("#"):
                element.set(key, f"#{prefix}-{value[1:]}")
            elif key in ("style", "clip-path", "fill", "stroke"):
                value = value.replace("url(#", f"url(#{prefix}-").replace(INK, "currentColor")
                element.set(key, value)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-labelledby", f"{prefix}-title {prefix}-description")
    for tag, name, text in (("desc", "description", description), ("title", "title", title)):
        element = xml.Element(tag, id=f"{prefix}-{name}")
        element.text = text
        root.insert(0, element)


def quantiles(values, digits=1) -> str:
    """Median and range of values, in words."""
    least, middle, most = (f"{value:.{digits}f}" for value in np.quantile(values, (0, 0.5, 1)))
    return f"median {middle}, from {least} to {most}"

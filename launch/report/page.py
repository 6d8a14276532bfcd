"""The report on a search: one page that tells what it did, and its pictures.

A template turns sections of text, cells, pictures and tables into the page. It escapes all text, so
that nothing in the folder of a search is ever run.
"""

import base64
import hashlib
import pathlib
import shutil

import jinja2
from markupsafe import Markup

from bnao_jax import files
from launch.command import UsageError
from launch.plots import style
from launch.report import facts, search_folder, sections
from launch.run import workdir

HERE = pathlib.Path(__file__).parent


def report(folder, others=(), truth=None, code="") -> pathlib.Path:
    """Writes report.html and the pictures of a search into its folder; returns the page's path.

    Args:
      folder: of the search.
      others: folders of searches to compare it with.
      code: the place of the space, where that is code; without it no cells are drawn.
      truth: (path, column) of known accuracies, as `launch.truth` reads it; or None.

    Raises:
      UsageError: there is no search, or the folder cannot be written.
    """
    run = search_folder.read(folder, code)
    alike = run.config.get("space.name")
    compared = [search_folder.read(path, code, named=alike) for path in others]
    accuracies = None if truth is None else facts.truth_of(run, *truth)
    pictures = run.folder / workdir.PICTURES
    try:
        _make_room(run.folder, pictures)
        with style.style():
            body = list(sections.sections(run, compared, accuracies, pictures))
        files.write(run.folder / workdir.REPORT, page(run, body))
    except OSError as error:
        raise UsageError(f"--workdir={folder} cannot be written: {error}") from None
    return run.folder / workdir.REPORT


def page(run, sections) -> str:
    """The page as HTML."""
    loader = jinja2.FileSystemLoader(HERE)
    environment = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = ((HERE / f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.jinja").render(
        name=run.name,
        sections=sections,
        missing=run.missing,
        style=Markup(style),
        script=Markup(script),
        digest=digest,
        svg=Markup,
    )


def _make_room(folder, pictures):
    """Makes an empty folder of pictures. Refuses links, which may lead out of the folder."""
    fresh = folder / f"{workdir.REPORT}.new"
    for path in (pictures, fresh):
        if path.is_symlink():
            raise UsageError(f"{path} is a link; remove it")
    if pictures.exists():
        shutil.rmtree(pictures)
    pictures.mkdir()

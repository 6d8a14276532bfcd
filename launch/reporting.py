"""The report on a search: one page that tells what it did, and its pictures.

The page is made of sections, each with text, cells, pictures and tables, by a template that escapes
all it is given: whatever lies in the folder of a search is shown, never run.
"""

import base64
import hashlib
import pathlib
import shutil

import jinja2
from markupsafe import Markup

from launch import drawing, findings, report_sections, runs, workdir
from launch.command import UsageError

HERE = pathlib.Path(__file__).parent


def report(folder, others=(), truth=None) -> pathlib.Path:
    """Writes report.html and the pictures of a search into its folder; returns the page's path.

    Args:
      folder: of the search.
      others: folders of searches to compare it with.
      truth: (path, column) of known accuracies, as `launch.truth` reads it; or None.

    Raises:
      UsageError: there is no search, or the folder cannot be written.
    """
    run, *compared = [runs.read(path) for path in (folder, *others)]
    known = None if truth is None else findings.truth_of(run, *truth)
    pictures = run.folder / workdir.PICTURES
    try:
        _make_room(run.folder, pictures)
        with drawing.style():
            sections = list(report_sections.sections(run, compared, known, pictures))
        workdir.write(run.folder / workdir.REPORT, page(run, sections))
    except OSError as error:
        raise UsageError(f"--workdir={folder} cannot be written: {error}") from None
    return run.folder / workdir.REPORT


def page(run, sections) -> str:
    """The page as HTML."""
    loader = jinja2.FileSystemLoader(HERE)
    environment = jinja2.Environment(
        **dict(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined),
        **dict(trim_blocks=True, lstrip_blocks=True),
    )
    style, script = (
        (HERE / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("report.jinja").render(
        **dict(name=run.name, sections=sections, missing=run.missing),
        **dict(style=Markup(style), script=Markup(script), digest=digest, svg=Markup),
    )


def _make_room(folder, pictures):
    """Makes the folder of pictures, empty; what the folder of a stranger links to is left alone."""
    fresh = folder / f"{workdir.REPORT}.new"
    for path in (pictures, fresh):
        if path.is_symlink():
            raise UsageError(f"{path} is a link; remove it")
    if pictures.exists():
        shutil.rmtree(pictures)
    pictures.mkdir()

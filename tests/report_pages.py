"""Reports of made searches, and what stands in their pages."""

import re

import html5lib
import pytest
from made_runs import make_run

from launch.plots import style
from launch.report import page

XHTML, SVG = "{http://www.w3.org/1999/xhtml}", "{http://www.w3.org/2000/svg}"
WORDS = re.compile(r"\s+")


def parsed(page):
    """The tree of a page; a page that is not valid raises."""
    return html5lib.HTMLParser(strict=True).parse(page)


def elements(tree, *names):
    return [
        e for e in tree.iter() if e.tag in [f"{space}{n}" for n in names for space in (XHTML, SVG)]
    ]


def words(element):
    return WORDS.sub(" ", " ".join(element.itertext())).strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished search with its report, drawn in full."""
    path = tmp_path_factory.mktemp("report") / "mine"
    make_run(path, rounds=2)
    page.report(path)
    return path


@pytest.fixture(scope="module")
def tree(folder):
    return parsed((folder / "report.html").read_text())


@pytest.fixture
def sketched(monkeypatch):
    """Reports whose pictures are made, but not written."""

    def write(folder, name, figure, title, text, **look):
        return style.Picture(name, title, text, f'<svg role="img" aria-label="{name}"></svg>', 1, 2)

    monkeypatch.setattr(style, "write", write)

    def sketch(path, *args):
        return parsed(page.report(path, *args).read_text())

    return sketch


def sections(tree):
    return {e.get("id"): words(e) for e in elements(tree, "section")}

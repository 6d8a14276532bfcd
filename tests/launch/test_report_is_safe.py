"""The report believes no folder: it needs no network, and shows what lies there unrun."""

# ruff: noqa: F811  fixtures come by import

import base64
import hashlib
import json
import re

import html5lib
import pytest
from made_runs import make_run, read_lines, write_lines
from report_pages import WORDS, elements, folder, sections, sketched, tree, words  # noqa: F401

from launch.command import UsageError
from launch.plots import style
from launch.report import page, search_folder

HOSTILE = "</code></svg><script>alert(1)</script><img src=x onerror=alert(1)>\"'$\\frac{1}{0}$"


def test_it_needs_no_network(folder, tree):
    for element in tree.iter():
        for name, value in element.attrib.items():
            address = name.split("}")[-1] in ("href", "src", "srcset", "action", "data")
            assert not address or value.startswith(("#", "data:image/png;base64,")), (name, value)
    assert "@import" not in (text := (folder / "report.html").read_text())
    assert not re.search(r"url\((?!#)", text)
    assert len(text) < 1_000_000


def test_the_script_is_ours_alone(folder, tree):
    (script,) = elements(tree, "script")
    (policy,) = [e.get("content") for e in elements(tree, "meta") if e.get("http-equiv")]
    digest = base64.b64encode(hashlib.sha256(script.text.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy


def test_what_lies_in_a_folder_is_shown_and_not_run(sketched, tmp_path):
    path = tmp_path / "mine"
    make_run(path, rounds=2)
    for name in ("pool.jsonl", "baseline.jsonl", "metrics.jsonl"):
        rows = [row | {HOSTILE: HOSTILE} for row in read_lines(path / name)]
        for row in rows[:5]:
            row |= {"arch": HOSTILE, "note": HOSTILE}
        write_lines(path / name, rows)
    result = json.loads((path / "result.json").read_text())
    result["best"][0] |= {"arch": HOSTILE, "score": 0.9}
    result |= {"versions": {HOSTILE: HOSTILE}, "seconds": {HOSTILE: 1.0, "train": HOSTILE}}
    (path / "result.json").write_text(json.dumps(result))
    machine = {"command": HOSTILE, "platform": HOSTILE, "versions": {HOSTILE: HOSTILE}}
    (path / "machine.json").write_text(json.dumps(machine))
    config = json.loads((path / "config.json").read_text())
    config[HOSTILE] = {HOSTILE: HOSTILE}
    config["supernet"]["sampler"] = HOSTILE
    (path / "config.json").write_text(json.dumps(config))
    tree = sketched(path)
    assert len(elements(tree, "script")) == 1 and not elements(tree, "img", "iframe", "object")
    assert not [name for e in tree.iter() for name in e.attrib if name.startswith("on")]
    assert HOSTILE in "".join(tree.itertext())
    assert sum(words(e).startswith("</code>") for e in elements(tree, "code")) == 2


def test_letters_in_pictures_are_escaped_too(tmp_path):
    with style.style():
        figure, axes = style.figure(HOSTILE, HOSTILE, HOSTILE)
        axes.plot([1], label=HOSTILE)
        style.legend(figure, axes)
        picture = style.write(tmp_path, "name", figure, HOSTILE, HOSTILE)
    tree = html5lib.HTMLParser(strict=True).parseFragment(picture.svg)
    assert not elements(tree, "script", "img")
    assert (
        sum(words(e) == WORDS.sub(" ", HOSTILE) for e in elements(tree, "text", "title", "desc"))
        >= 5
    )


FILES = (
    "config.json",
    "pool.jsonl",
    "metrics.jsonl",
    "result.json",
    "baseline.jsonl",
    "machine.json",
)


@pytest.mark.parametrize("name", FILES)
def test_a_report_of_what_is_there(name, sketched, tmp_path):
    path = tmp_path / "mine"
    make_run(path, rounds=2)
    content = (path / name).read_bytes()
    half = content[: len(content) // 2].rstrip(b"}\n")  # within a line
    for damaged in (None, b"", half, b"\xff\xfe\x00" + half, b"[" * 100_000, b"[1, 2]\n"):
        (path / name).unlink()
        if damaged is not None:
            (path / name).write_bytes(damaged)
        run = search_folder.read(path)
        assert any(name in line for line in run.missing), damaged
        (path / name).touch()
    (path / name).write_bytes(half)
    shown = sections(sketched(path))
    assert name in shown["missing"] and "summary" in shown and "machine" in shown


def test_values_that_cannot_be_are_left_out(sketched, tmp_path):
    path = tmp_path / "mine"
    make_run(path, rounds=2)
    rows = read_lines(path / "pool.jsonl")
    values = [None, "1", [], {}, True, -1, 1.5, 2**70, 1e999]
    bad = [rows[0] | {key: value} for key in ("params", "macs", "round") for value in values]
    bad += [rows[0] | {"score": value} for value in ("1", [], True, 1e999)]
    bad += [rows[0] | {"accuracy": value} for value in ("1", [], True, 2.0, -0.5, 1e999)]
    bad += [rows[0] | {"arch": value} for value in (None, 1, "1 " * 5_000)]
    write_lines(path / "pool.jsonl", [*rows, *bad])
    metrics = read_lines(path / "metrics.jsonl")
    good = len(metrics)
    metrics += [{"phase": "round", "round": value} for value in (None, "1", -1, 1e999)]
    # These have a round; their other figures are as good as absent.
    odd = {
        "best": "1",
        "mean": [],
        "held_out_scores": [1, "2"],
        "held_out_predicted": {},
        "decoded": True,
    }
    metrics += [{"phase": "round", "round": 3, **odd}]
    write_lines(path / "metrics.jsonl", metrics)
    run = search_folder.read(path)
    assert len(run.pool.texts) == len(rows) and len(run.rounds) == 3
    assert f"pool.jsonl: {len(bad)} of {len(rows) + len(bad)} lines" in " ".join(run.missing)
    assert f"metrics.jsonl: 4 of {good + 5} lines" in " ".join(run.missing)
    assert "controller" in sections(sketched(path))


def test_links_in_a_folder_are_not_followed(tmp_path):
    path, aim = tmp_path / "mine", tmp_path / "aim"
    make_run(path, rounds=2)
    aim.mkdir()
    (path / "report").symlink_to(aim)
    with pytest.raises(UsageError, match="is a link"):
        page.report(path)
    (path / "report").unlink()
    (path / "report.html.new").symlink_to(aim / "file")
    with pytest.raises(UsageError, match="is a link"):
        page.report(path)
    assert not list(aim.iterdir())

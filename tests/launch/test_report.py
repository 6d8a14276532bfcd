"""The report: what it shows, and that anyone can read it."""

# ruff: noqa: F811  fixtures come by import

import dataclasses
import json
import re
import shutil
import time

import numpy as np
import pytest
import toys
from command_lines import play_command
from conftest import ROOT
from made_runs import make_run, read_lines, write_lines
from matplotlib.backends.backend_agg import FigureCanvasAgg
from report_pages import SVG, XHTML, elements, folder, parsed, sections, sketched, tree, words  # noqa: F401
from tiny import tiny

from bnao_jax.spaces.shufflenet.space import ShuffleNetSpace
from configs import cifar
from launch.command import UsageError
from launch.config.plan import plan
from launch.plots import cells, style
from launch.report import facts, page, plots_of_scores, search_folder, tables


def test_it_answers_the_questions(tree, folder):
    shown = sections(tree)
    best = json.loads((folder / "result.json").read_text())["best"][0]
    assert list(shown) == [
        "summary",
        "against-random",
        "cells",
        "scores",
        "training",
        "controller",
        "machine",
    ]
    assert (
        "The search is finished" in shown["summary"] and f"{best['params']:,}" in shown["summary"]
    )
    # 80 % of 40 images: sqrt(.8 * .2 / 40) = 6.3 points.
    assert "80.0 % ± 6.3" in shown["summary"]
    assert (
        "Found architectures are better than random architectures: mean test accuracy 70.0 % "
        "against 30.0 %, +40.0 points (95 % interval +20.0 to +60.0)." in shown["summary"]
    )
    assert (
        "It is not shown that found architectures are better than random architectures of the same "
        "sizes" in shown["summary"]
    )
    assert "random of the same sizes" in shown["against-random"]
    assert best["arch"] in shown["cells"]
    assert "python -m launch.search --config=configs/quickstart.py" in shown["machine"]
    assert "supernet.sampler proportional" in shown["machine"]
    unseen = "the pairs of 8 architectures that its fit had not seen, the predictor last put 80.0 %"
    assert unseen in shown["summary"]
    assert "compilation 9.0" in shown["machine"]
    # 20 steps of an architecture on average, and of the size the sampler's share.
    assert "30 architectures shared 600 steps" in shown["training"]
    rates = [words(row) for row in elements(tree, "tr")]
    assert "1 100 10.0" in rates and "2 100 10.0" in rates  # 95 steps in 9.5 seconds
    assert not any("missing" in name for name in shown)


def test_every_picture_is_a_file_too(tree, folder):
    names = {path.stem for path in (folder / "report").glob("*.png")}
    assert names == {path.stem for path in (folder / "report").glob("*.svg")}
    assert {"scores", "measured", "params", "macs", "losses", "balance-1", "balance-2"} < names
    assert {"predictions", "pairs", "ascent", "times", "cell-1-normal"} < names
    assert {"against-random", "cell-2-reduction"} < names
    titles = [e.get("id") for e in elements(tree, "title") if e.get("id")]
    assert set(titles) == {f"picture-{name}-title" for name in names}
    for path in (folder / "report").glob("*.svg"):
        assert "prefers-color-scheme:dark" in path.read_text()


def test_anyone_can_read_it(tree):
    assert tree.get("lang") == "en"
    assert len(elements(tree, "h1")) == 1 and len(elements(tree, "main")) == 1
    ids = [e.get("id") for e in tree.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    by_id = {e.get("id"): e for e in tree.iter() if e.get("id")}
    labelled = [e for e in tree.iter() if e.tag in (f"{SVG}svg", f"{XHTML}section")]
    assert len(labelled) > 20
    for element in labelled:
        label, *description = element.get("aria-labelledby").split()
        assert words(by_id[label])
        assert all(len(words(by_id[name])) > 5 for name in description)
    for svg in elements(tree, "svg"):
        assert svg.get("role") == "img" and len(svg.get("aria-labelledby").split()) == 2
    for button in elements(tree, "button"):
        assert button.get("aria-label") and button.get("type") == "button"
        assert words(by_id[button.get("data-copy")])
    for table in elements(tree, "table"):
        assert words(table.find(f"{XHTML}caption"))
        assert all(head.get("scope") in ("row", "col") for head in elements(table, "th"))
    for region in (e for e in tree.iter() if e.get("tabindex")):
        assert region.get("role") == "region" and region.get("aria-label")
    for link in elements(tree, "a"):
        assert link.get("href").removeprefix("#") in by_id
    levels = [int(e.tag[-1]) for e in elements(tree, "h1", "h2", "h3")]
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


def luminance(colour):
    """Relative luminance of #rrggbb, as the accessibility guidelines of the W3C define it."""
    parts = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast():
    assert contrast("#000000", "#ffffff") == 21
    css = (ROOT / "launch/report/page.css").read_text()
    schemes = [
        dict(re.findall(r"--(\w+): (#\w{6})", rule))
        for rule in re.findall(r":root \{(.*?)\}", css, re.S)
    ]
    assert len(schemes) == 3  # light, dark, printed
    for scheme in schemes:
        for ink in ("ink", "soft", "accent"):
            for paper in ("paper", "card"):
                assert contrast(scheme[ink], scheme[paper]) >= 4.5, (ink, paper, scheme)
    light, dark, _ = schemes
    assert (light["ink"], light["paper"]) == (style.INK, style.PAPER)
    assert (dark["ink"], dark["paper"]) == (style.DARK_INK, style.DARK_PAPER)
    for colour in style.COLOURS:
        assert contrast(colour, "#ffffff") >= 4.5  # white letters in a box
        assert contrast(colour, style.DARK_PAPER) >= 3  # graphics


def test_text_takes_the_colour_around_it(folder):
    assert style.INK not in re.sub(
        r"<style>.*?</style>", "", (folder / "report.html").read_text(), flags=re.S
    )
    assert "currentColor" in (folder / "report/scores.svg").read_text()


def test_a_search_under_way(sketched, tmp_path):
    path = tmp_path / "mine"
    make_run(path, rounds=3, finished=False)
    write_lines(path / "pool.jsonl", read_lines(path / "pool.jsonl")[:30])
    rows = [row for row in read_lines(path / "metrics.jsonl") if row["round"] == 1]
    write_lines(path / "metrics.jsonl", rows)
    shown = sections(sketched(path))
    assert "The search is not finished: 1 of 3 rounds are done" in shown["summary"]
    assert "networks are trained after the last round to compare with" in shown["summary"]
    (path / "pool.jsonl").unlink()  # in the first round
    write_lines(path / "metrics.jsonl", rows[:3])
    shown = sections(sketched(path))
    assert "nothing is scored yet" in shown["summary"] and "pool.jsonl" in shown["missing"]


def test_searches_are_compared(sketched, tmp_path):
    paths = [tmp_path / name for name in ("mine", "second", "uniform")]
    for seed, path in enumerate(paths):
        config = tiny()
        config.supernet.sampler = "uniform" if path.name == "uniform" else "proportional"
        make_run(path, rounds=2, seed=seed, config=config)
    result = json.loads((paths[1] / "result.json").read_text())
    result["best"][0]["standalone_accuracy"] = 0.9
    (paths[1] / "result.json").write_text(json.dumps(result))
    shown = sections(sketched(paths[0], paths[1:]))
    # 80 and 90 %: their mean, and sqrt(2 * .05 ** 2).
    assert "85.00 ± 7.07 %" in shown["comparison"] and "80.00 %, one search" in shown["comparison"]
    assert (
        "uniform: training in round 1" not in shown["training"]
    )  # in a picture that was not drawn
    assert len(elements(sketched(paths[0], paths[1:]), "svg")) > 10


def test_scores_that_are_no_accuracies_are_told_as_they_are(sketched, tmp_path):
    config = tiny()
    config.scoring.score = "loss"
    make_run(tmp_path / "mine", rounds=2, config=config)
    make_run(tmp_path / "other", rounds=2)
    run, other = (search_folder.read(tmp_path / name) for name in ("mine", "other"))
    shown = sections(sketched(tmp_path / "mine", [tmp_path / "other"]))
    best = facts.chosen(run)[0]
    assert -2 < best.score < -1 and best.accuracy == pytest.approx(best.score + 2)
    assert f"reaches {100 * best.accuracy:.1f} % ±" in shown["summary"]
    assert "learned from the negative validation loss. " in shown["summary"]
    assert f"Score (negative validation loss): {best.score:.3f}." in shown["cells"]
    assert f"{100 * best.accuracy:.2f} %, one search" in shown["comparison"]
    for figure, text in (plots_of_scores.scores(run), plots_of_scores.cost(run, "params")):
        axes = figure.axes[0]
        assert axes.get_ylabel() == "score (negative validation loss)" and "%" not in text
        assert axes.dataLim.ymin < axes.dataLim.ymax < 0
    for figure, _ in (plots_of_scores.scores(other), plots_of_scores.comparison([run, other])):
        axes = figure.axes[0]
        assert axes.get_ylabel().endswith("(validation accuracy), %") and axes.dataLim.ymin > 1
    run.config["scoring.score"] = "loss_and_size"
    figure, text = plots_of_scores.measured(run)  # what can be compared from round to round
    assert len(figure.axes[0].lines) == 2 and text.endswith(" %.")


def test_only_searches_alike_but_for_the_seed_are_averaged(tmp_path):
    changes = {
        "mine": {},
        "second": {"seed": 1, "devices": 2, "data.data_dir": "/elsewhere"},
        "limited": {"search.max_macs": 900_000},
        "longer": {"supernet.epochs": 3},
        "uniform": {"supernet.sampler": "uniform"},
        "unknown": {},
        "unknown too": {},
        "under way": {"supernet.epochs": 3},
    }
    for name, fields in changes.items():
        config = tiny()
        config.update_from_flattened_dict(fields)
        make_run(tmp_path / name, rounds=1, config=config, finished=name != "under way")
        if name.startswith("unknown"):
            (tmp_path / name / "config.json").unlink()
    runs = [search_folder.read(tmp_path / name) for name in changes]
    assert [name for _, name in tables.kinds(runs)] == [
        *["nao, proportional, supernet.epochs=2, search.max_macs=None"] * 2,
        "nao, proportional, supernet.epochs=2, search.max_macs=900000",
        "nao, proportional, supernet.epochs=3, search.max_macs=None",
        "nao, uniform",
        *["unknown, unknown"] * 2,
        "nao, proportional, supernet.epochs=3, search.max_macs=None",
    ]
    searches, spread = tables.compared(runs)
    assert [row[1].endswith("; not finished") for row in searches.rows] == [False] * 7 + [True]
    assert [searches for _, searches, *_ in spread.rows] == ["2", "1", "1", "1", "1", "1"]
    assert len(tables.compared(runs[-1:])) == 1  # nothing has a spread
    many = [run._replace(config={f"x{n}": run.name for n in range(9)}) for run in runs[:2]]
    assert tables.kinds(many)[1][1] == (
        "unknown, unknown, x0=second, x1=second, x2=second, x3=second, 5 other fields"
    )


def test_the_other_space_and_known_accuracies(sketched, tmp_path):
    config, path = tiny(), tmp_path / "mine"
    config.space.name, config.supernet.drop_path_keep = "nasbench201", 1.0
    config.final.drop_path_keep = 1.0
    make_run(path, rounds=2, config=config)
    rows = read_lines(path / "pool.jsonl")
    table = [f"{row['arch']},{100 * row['score']}" for row in {r["arch"]: r for r in rows}.values()]
    truth = tmp_path / "truth.csv"
    truth.write_text("\n".join(["arch_str,cifar10_test_acc_200ep", *table]))
    tree = sketched(path, (), (str(truth), "cifar10_test_acc_200ep"))
    shown = sections(tree)
    assert rows[0]["arch"].startswith("|") and "missing" not in shown
    assert re.search(r"kendall_tau [0-9.]+", shown["scores"])
    with pytest.raises(UsageError, match="--truth: the table lacks"):
        truth.write_text("\n".join(["arch_str,cifar10_test_acc_200ep", *table[1:]]))
        page.report(path, (), (str(truth), "cifar10_test_acc_200ep"))


def test_pareto_by_hand():
    costs, scores = np.array([3, 1, 2, 2, 4, 5]), np.array([0.5, 0.2, 0.4, 0.3, 0.5, np.nan])
    np.testing.assert_array_equal(plots_of_scores.pareto(costs, scores), [1, 2, 0])


def test_expected_counts_by_hand(tmp_path):
    path = tmp_path / "mine"
    make_run(path, rounds=2)
    rows = read_lines(path / "pool.jsonl")[:3]
    for row, params, trained in zip(rows, (100, 200, 700), (8, 2, 0), strict=True):
        row |= {"params": params, "trained": trained, "round": 1, "times_trained": trained}
    write_lines(path / "pool.jsonl", rows)
    np.testing.assert_allclose(facts.expected(search_folder.read(path)), [1, 2, 7], rtol=1e-6)


def test_the_limit_cuts_where_it_cuts(tmp_path):
    config = tiny()
    config.search.max_params = 1
    make_run(tmp_path / "mine", config=config)
    text = facts.limits(search_folder.read(tmp_path / "mine"))
    assert (
        text == "The limit is at most 1 parameters; 0.0 % of 4,096 random architectures satisfy it."
    )


def test_a_limit_on_latency(tmp_path):
    config, table = tiny(), tmp_path / "table.jsonl"
    config.search.max_params, config.search.max_latency = None, 0.0035
    config.search.latencies = str(table)
    make_run(tmp_path / "mine", config=config)
    run = search_folder.read(tmp_path / "mine")
    assert facts.limits(run) == "The limit is at most 0.0035 s predicted latency."  # no table
    # All take as long as each other, so every prediction is that.
    for seconds, share in ((0.003, "100.0"), (0.004, "0.0")):
        latency = [{"batch": 1, "median": seconds}]
        write_lines(table, [{"arch": text, "latency": latency} for text in run.pool.texts])
        assert facts.limits(run) == (
            "The limit is at most 0.0035 s predicted latency; "
            f"{share} % of 4,096 random architectures satisfy it."
        )
    run.config["search.max_params"] = 4_000
    text = "The limit is at most 4,000 parameters and at most 0.0035 s predicted latency; 0.0 %"
    assert facts.limits(run).startswith(text)


def test_labels_stay_in_their_boxes():
    space = ShuffleNetSpace(channels=20, channel_choice=True)
    architecture = np.array([option - 1 for option in space.decisions.options])
    with style.style():
        figure = cells.cells(space.wires(architecture))
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        boxed = 0
        for axes in figure.axes:
            boxes = [p for p in axes.patches if isinstance(p, cells.FancyBboxPatch)]
            _, *labels = axes.texts
            for box, label in zip(boxes, labels, strict=True):
                box, label = box.get_window_extent(), label.get_window_extent()
                assert box.x0 < label.x0 and label.x1 < box.x1
                boxed += 1
    assert boxed > 40  # 20 blocks, what is between them, and each stage's input


@pytest.mark.parametrize(
    "sampler, from_scratch, parts",
    [
        ("proportional", False, ["as in Eq. 3 of Balanced NAO", "all with the last weights"]),
        ("uniform", True, ["all of the round alike", "each with its own weights"]),
        ("constrained", False, ["drawn from the whole space (constrained)", "all with the last"]),
    ],
)
def test_it_says_what_the_system_does(tmp_path, sampler, from_scratch, parts):
    config = tiny()
    config.supernet.sampler, config.supernet.from_scratch = sampler, from_scratch
    config.supernet.macs_least, config.supernet.macs_most = 1_000, 2_000
    config.supernet.macs_step = 500
    make_run(tmp_path, config=config)
    page.report(tmp_path)
    text = words(parsed((tmp_path / "report.html").read_text()))
    assert all(part in text for part in parts)
    assert ("training in round 1" in text) == (sampler != "constrained")


def test_the_command(tmp_path):
    status, _, error = play_command("report", f"--workdir={tmp_path}")
    assert status == 2 and "holds no search" in error


def test_what_is_no_search_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no search"):
        search_folder.read(tmp_path / "absent")
    (tmp_path / "config.json").write_text(json.dumps({"train": {"epochs": 1}}))
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"phase": "train", "epoch": 1}) + "\n")
    with pytest.raises(UsageError, match="holds no search"):  # a training
        search_folder.read(tmp_path)


def test_a_report_that_fails_loses_nothing(tmp_path, monkeypatch, capsys):
    from launch.search import job as search_job

    def fail(folder, **named):
        raise RuntimeError("no\nink")

    monkeypatch.setattr(page, "report", fail)
    settings = plan(tiny())
    search_job.report(settings, tmp_path)
    assert capsys.readouterr().out == ""  # it was not wanted
    wanted = dataclasses.replace(settings.settings.search, report=True)
    search_job.report(settings.replace(search=wanted), tmp_path)
    assert "warning: there is no report: no ink; python -m launch.report" in capsys.readouterr().out


def test_a_finished_search_gets_the_report_it_lacks(folder, tmp_path, capsys, monkeypatch):
    from launch.search import job as search_job

    path, config = tmp_path / "mine", tiny()
    shutil.copytree(folder, path, ignore=shutil.ignore_patterns("report*"))
    reports = []
    monkeypatch.setattr(page, "report", lambda folder, **_: reports.append(folder) or folder)
    config.update(json.loads((path / "config.json").read_text()))
    config.search.report = True
    for _ in range(2):
        assert toys.run(search_job, config, path) == 0
        (path / "report.html").touch()
    assert reports == [path]


def test_a_large_search(tmp_path, record_property):
    config = cifar.get_config()
    make_run(tmp_path, config=config, initial=1_000, rounds=4, proposals=100)
    assert len(read_lines(tmp_path / "pool.jsonl")) == 1_300
    started = time.process_time()  # others may keep the machine busy
    written = page.report(tmp_path)
    seconds, size = time.process_time() - started, written.stat().st_size
    record_property("seconds", seconds)
    record_property("bytes", size)
    print(f"1,300 architectures: {seconds:.1f} s, {size:,} bytes")
    assert seconds < 20 and size < 5_000_000

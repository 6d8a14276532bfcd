"""A search space of the user's: a module in a file elsewhere, with every command."""

import json
import shutil

import numpy as np
import pytest
from command_lines import play_command
from flax import linen as nn
from test_trained import EVALUATION
from tiny import tiny

from bnao_jax import saved
from bnao_jax.settings import SettingError
from bnao_jax.spaces import imported, shipped
from bnao_jax.spaces.shipped import NetworkSettings, SpaceSettings
from configs import cifar_train
from launch.command import UsageError
from launch.config.plan import plan, read
from launch.evaluate import accuracy
from launch.train import taken

NET = """
import pathlib

from flax import linen as nn

from bnao_jax.choice import Choice
from parts_of_net import two

RUNS = pathlib.Path(__file__).with_name("runs")
RUNS.write_text(RUNS.read_text() + "1" if RUNS.exists() else "1")


class Net(nn.Module):
    classes: int
    width: int = 4

    @nn.compact
    def __call__(self, images, train=False):
        x = nn.Dense(self.width)(images.reshape(len(images), -1))
        for n in range(3):
            kinds = {"one": nn.Dense(self.width), "two": two(self.width), "skip": lambda x: x}
            x = nn.relu(Choice(kinds, name=f"layer{n}")(x))
            x = nn.Dropout(0.2, deterministic=not train)(x)
        return nn.Dense(self.classes)(x)

    def strata(self, pool):
        return (pool != 2).sum(1)


class Narrow(nn.Module):
    @nn.compact
    def __call__(self, images):
        return Choice({"a": nn.Dense(3), "b": nn.Dense(3)})(images.mean((1, 2)))


class Wrong(nn.Module):
    @nn.compact
    def __call__(self, images):
        return nn.Dense(1 / 0)(images)
"""
PARTS = """
from flax import linen as nn


def two(width):
    return nn.Sequential([nn.Dense(width), nn.relu, nn.Dense(width)])
"""
SMALL = (
    *("data.train_examples=96", "data.valid_examples=40", "supernet.epochs=2"),
    *("search.initial=8", "search.proposals=3", "search.rounds=2", "search.strategy=random"),
    *("random_baseline.networks=2", "random_baseline.epochs=1", "scoring.per_dispatch=4"),
    *("devices=1", "compilation_cache="),
)


def fields(*texts):
    return [f"--config.{text}" for text in texts]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the module, and nothing of this repository."""
    path = tmp_path_factory.mktemp("own")
    (path / "own_space.py").write_text(NET)
    (path / "parts_of_net.py").write_text(PARTS)
    return path


@pytest.fixture(scope="module")
def place(folder):
    return f"{folder}/own_space.py:Net"


@pytest.fixture(scope="module")
def searched(folder, place):
    """A whole search in the space."""
    named = fields(f"space.name={place}", "space.settings=width=6", *SMALL)
    words = "--config=quickstart", *named, f"--workdir={folder}/search"
    status, out, error = play_command("search", *words)
    assert status == 0, error
    assert "Found against random" in out and "Report: " in out
    return folder / "search"


@pytest.fixture(scope="module")
def trained(folder, searched, place):
    """A training of the best of the search."""
    named = fields(f"space.name={place}", "train.epochs=1", "train.batch_size=32")
    named += fields("train.dropout=0", SMALL[0])
    named += fields(*SMALL[-2:])
    words = "--config=cifar_train", f"--arch={searched}", *named, f"--workdir={folder}/train"
    status, out, error = play_command("train", *words)
    assert status == 0, error
    assert "space.settings='width=6'" in out
    return folder / "train"


def test_a_search_leaves_what_others_do(searched):
    best = json.loads((searched / "result.json").read_text())["best"][0]
    assert len(best["arch"].split()) == 3 and best["params"] >= 64 * 6 + 6 + 70
    assert (searched / "report/cell-1-chain.svg").exists()


def test_what_a_search_left_is_measured(searched, place):
    of_valid = EVALUATION | dict(arch=str(searched), split="valid")
    measured = accuracy.evaluate(searched, **of_valid, code=place)
    best = json.loads((searched / "result.json").read_text())["best"][0]
    assert measured["top1"] == pytest.approx(best["accuracy"], abs=1e-6)


def test_what_a_training_left_is_measured_and_exported(trained, place, tmp_path):
    measured = accuracy.evaluate(trained, **EVALUATION, code=place)
    result = json.loads((trained / "result.json").read_text())
    assert measured["top1"] == result["test"]["top1"]
    words = f"--workdir={trained}", f"--out={tmp_path}/out", "--platforms=cpu", f"--code={place}"
    status, out, error = play_command("export", *words)
    assert status == 2 and "does not take a batch of unknown size" in error  # for its len(images)
    status, out, error = play_command("export", *words, "--batch_sizes=2")
    assert status == 0, error
    assert f"json\")), '{place}')" in (tmp_path / "out/README.md").read_text()
    found = saved.load(trained, code=place)
    assert found.predict(np.zeros((2, 8, 8, 1), np.uint8)).shape == (2, 10)


def test_a_folder_alone_runs_no_code(folder, searched, trained, place, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("own_space.py", "parts_of_net.py"):
        shutil.copy(folder / name, copy)
    moved, strange = f"{copy}/own_space.py:Net", {}
    for source in (searched, trained):
        strange[source] = tmp_path / source.name
        shutil.copytree(source, strange[source])
        for name in ("config.json", "network.json"):
            file = strange[source] / name
            file.write_text(file.read_text().replace(place, moved))
    of_search, of_training = f"--workdir={strange[searched]}", f"--workdir={strange[trained]}"
    for name, *words in (
        ("evaluate", of_search, f"--arch={searched}", "--split=valid"),
        ("evaluate", of_training),
        ("export", of_training, f"--out={tmp_path}/out"),
        ("train", "--config=cifar_train", f"--arch={strange[searched]}"),
    ):
        status, _, error = play_command(name, *words)
        assert status == 2 and "is not run unless" in error and moved in error
    status, out, _ = play_command("report", of_search)
    page = (strange[searched] / "report.html").read_text()
    assert status == 0 and "is not run unless" in page and not (copy / "runs").exists()
    for where in strange.values():
        with pytest.raises(ValueError, match="is not run unless"):
            saved.load(where)
    # Where the user names it, in a place of its own.
    status, out, _ = play_command("report", of_search, f"--code={moved}")
    assert (
        status == 0 and "is not run unless" not in (strange[searched] / "report.html").read_text()
    )
    assert (copy / "runs").read_text() == "1"  # and once


def test_a_limit_of_a_cost_that_there_is_not_is_one_line(place):
    of = "--config=quickstart", f"--config.space.name={place}", "--config.search.max_cost=5"
    status, _, error = play_command("inspect", *of, "--space", "--samples=9")
    assert status == 2 and "max_cost=5: the space has no cost of its own" in error


def test_a_config_file_may_name_the_code_too(searched, place):
    config = cifar_train.get_config()
    config.space.name = place
    assert taken.take(config, searched, set())["space.settings"] == "width=6"
    config = cifar_train.get_config()
    config.space.name = "shufflenet"
    assert "space.settings" not in taken.take(config, searched, {"space.name"})


def test_it_is_inspected(place):
    of = "--config=quickstart", f"--config.space.name={place}"
    status, out, error = play_command("inspect", *of, "--arch=one two skip")
    assert status == 0 and "layer1" in out, error
    status, out, error = play_command("inspect", *of, "--random=2")
    assert status == 0 and len(out.splitlines()) == 2, error


def test_it_is_ranked_by_a_truth_of_ones_own(folder, place, tmp_path):
    kinds = ("one", "two", "skip")
    texts = [f"{a} {b} {c}" for a in kinds for b in kinds for c in kinds]
    rows = [f"{text},{50 + n}" for n, text in enumerate(texts)]
    truth = tmp_path / "truth.csv"
    truth.write_text("\n".join(["arch_str,digits_test_acc_9ep", *rows]))
    small = [text for text in SMALL if not text.startswith(("search", "random"))]
    named = fields(
        *(f"space.name={place}", f"truth={truth}", "rank.column=digits_test_acc_9ep", "seeds=1"),
        *("data.name=digits", "data.shrink=1", "data.split=random", "supernet.sampler=stratified"),
        *("rank.architectures=0", "rank.points=1", "rank.point_architectures=5"),
        *("scoring.images=40", "scoring.batch_size=40", "supernet.separate_momentum=True"),
        *small,
    )
    words = "--config=rank_nasbench201:smoke", *named, f"--workdir={tmp_path}/rank"
    status, _, error = play_command("rank", *words)
    assert status == 0, error
    assert len((tmp_path / "rank/scores.jsonl").read_text().splitlines()) == 27


def test_strategies_are_compared_in_it(place, tmp_path):
    few = "seeds=2", "comparison.strategies=('random','evolution')", "comparison.evaluations=(12,)"
    named = fields(f"space.name={place}", *few, "search.initial=6", "search.rounds=2")
    named += fields("search.proposals=6", "evolution.parents=4")
    words = "--config=teacher", *named, f"--workdir={tmp_path}/compared"
    status, out, error = play_command("compare", *words)
    assert status == 0 and "evolution" in out, error


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("nothing.py:Net", "", r"config.space.name='.*': there is no file"),
        (
            "{}/own_space.py:Other",
            "",
            "has no flax.linen module 'Other'; it has Net, Narrow, Wrong",
        ),
        (
            "{}/own_space.py:Net",
            "depth=3",
            "settings: Net has no field 'depth'; it has classes, wi",
        ),
        ("{}/own_space.py:Net", "3", "settings='3' must be fields as in"),
        ("{}/own_space.py:Narrow", "", "Narrow gives 3 logits, and the images have 10 classes"),
        ("{}/own_space.py:Wrong", "", r"own_space.py, line \d+: ZeroDivisionError: division by"),
        ("{}/broken.py:Net", "", r"broken.py, line 2: SyntaxError"),
        ("{}/raises.py:Net", "", r"raises.py, line 3: KeyError: 'x'"),
        ("no.such.module:Net", "", "ModuleNotFoundError: No module named 'no'"),
        ("flax.linen:Dense", "features=10", "Dense has no Choice and no Value"),
        ("nao.", "", "must be nao, nasbench201, shufflenet"),
        ("nao", "width=3", "the space 'nao' has none"),
    ],
)
def test_what_is_wrong_is_named(folder, name, settings, message):
    (folder / "broken.py").write_text("a = 1\nb = (\n")
    (folder / "raises.py").write_text("a = {}\n\na['x']\n")
    config = tiny()
    config.space.name, config.space.settings = name.format(folder), settings
    config.supernet.drop_path_keep, config.final.top = 1.0, 0
    with pytest.raises(UsageError, match=message):
        plan(config)


def test_a_config_that_nobody_has_named_runs_nothing(place):
    config = tiny()
    config.space.name = place
    with pytest.raises(UsageError, match="is not run unless the user names it"):
        read(config).space()
    with pytest.raises(ValueError, match="is not run unless the user names it"):
        shipped.make(SpaceSettings(name=place), NetworkSettings(), 10, (8, 8, 1))


def test_fields_are_read_as_python_writes_them():
    text = "width=16, kinds=['a', ('b',)], rate=-.5, last=None"
    expected = {"width": 16, "kinds": ("a", ("b",)), "rate": -0.5, "last": None}
    assert imported.fields_of(text) == expected
    for text in ("16", "a=b", "*[1]", "**{}", "a=1)(", "a=1, a=2", "a=__import__('os')"):
        with pytest.raises(ValueError, match="is not of the form"):
            imported.fields_of(text)
    assert imported.load("flax.linen:Dense") is nn.Dense
    with pytest.raises(SettingError):
        SpaceSettings(name="nao", settings="width=3")

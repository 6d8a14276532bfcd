"""The study job: its tables, its sets of architectures, and that it can be broken off."""

import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import toys

from bnao_jax.ranking import pairwise_accuracy
from bnao_jax.scoring import Scores
from bnao_jax.spaces.nasbench201.outline import nasbench201_decisions
from configs import rank_study
from launch.command import UsageError
from launch.config.plan import plan, read
from launch.rank import study
from launch.run import workdir

SPACE, COUNT = nasbench201_decisions(), 60


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of made-up accuracies, and its architectures."""
    pool = np.unique(np.asarray(SPACE.random(jax.random.key(3), COUNT)), axis=0)
    lines = [f"{SPACE.format(a)},{50 + 40 * np.sin(n):.3f}" for n, a in enumerate(pool)]
    path = tmp_path_factory.mktemp("truth") / "table.csv"
    path.write_text("\n".join(["arch_str,digits_test_acc_9ep", *lines]))
    return path


def tiny(path=""):
    config = rank_study.get_config("nasbench201")
    config.compilation_cache, config.devices = "", 1
    config.truth, config.study.column = str(path), "digits_test_acc_9ep"
    config.data.name, config.data.shrink, config.data.pad = "digits", 1, 1
    config.data.split = "random"
    config.data.train_examples, config.data.valid_examples = 128, 40
    config.network.channels, config.network.cells = 2, 1
    config.supernet.batch_size, config.final.batch_size, config.final.epochs = 32, 32, 1
    config.final.auxiliary, config.final.drop_path_keep = False, 1.0
    config.scoring.images, config.scoring.batch_size, config.scoring.per_dispatch = 0, 40, 8
    config.seeds, config.checkpoint_every_steps = 2, 2
    config.study.architectures, config.study.candidates, config.study.epochs = 6, 30, (1, 2)
    return config


@pytest.fixture
def made_up(monkeypatch):
    """In place of training and scoring: scores that depend on the training, accuracies on none."""

    def evaluate(params, rows, valid, calibration, *, progress):
        values = np.sin(rows.sum(1) * params["w"]).astype(np.float32)
        progress(Scores(values, -values))

    def make_alone(plan, images, architecture):
        def train(state, images, labels, key, steps):
            params = {"w": state.params["w"] + steps}
            return state._replace(params=params, step=state.step + steps), 1.0, 0.5

        accuracy = lambda state, *_: SimpleNamespace(
            accuracy=np.cos(architecture.sum() + state.params["w"]), loss=0.0
        )
        return toys.recipe(4), train, accuracy

    toys.put_for_supernets(monkeypatch, evaluate=evaluate, weight=lambda seed: 1 + seed)
    toys.put_for_networks(monkeypatch, make_alone, weight=0.1)


def ends(folder):
    result = json.loads((folder / workdir.STUDY).read_text())
    del result["seconds"]
    rows = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    return result, rows


@pytest.mark.parametrize("with_table", [True, False])
def test_tables_are_those_of_the_scores(made_up, table, tmp_path, capsys, with_table):
    config = tiny(table if with_table else "")
    assert toys.run(study, config, tmp_path / "w") == 0
    out = capsys.readouterr().out
    assert "diverse uniform" in out and "similar proportional - similar uniform" in out
    result, rows = ends(tmp_path / "w")
    tables = result["by"]["accuracy"]
    assert len(rows) == 2 * 2 * 2 * 2 * 6 and len(tables["cells"]) == 8

    def accuracy(seed, sizes, sampler, epochs):
        rows_of_run = [
            (row["accuracy"], row["truth"])
            for row in rows
            if (row["seed"], row["sizes"], row["sampler"], row["epochs"])
            == (seed, sizes, sampler, epochs)
        ]
        assert len(rows_of_run) == 6
        return pairwise_accuracy(*np.array(rows_of_run).T)

    for cell in tables["cells"]:
        expected = [accuracy(n, cell["sizes"], cell["sampler"], cell["epochs"]) for n in (0, 1)]
        assert cell["of_seeds"] == pytest.approx(expected)
        assert cell["pairwise_accuracy"] == pytest.approx(np.mean(expected))
        error = abs(expected[0] - expected[1]) / 2  # of two values; t(.975, 1) = 12.706
        assert cell["reach_95"] == pytest.approx(12.7062 * error, rel=1e-4)
    difference = tables["differences"][-1]
    assert (difference["of"], difference["minus"]) == ("similar proportional", "similar uniform")
    expected = [
        accuracy(n, "similar", "proportional", 2) - accuracy(n, "similar", "uniform", 2)
        for n in (0, 1)
    ]
    assert difference["of_seeds"] == pytest.approx(expected)
    # The toy's loss is minus its accuracy.
    assert result["by"]["loss"] == tables
    # With a table each seed draws its own architectures; those trained alone are the same for all.
    drawn = [{row["arch"] for row in rows if row["seed"] == seed} for seed in (0, 1)]
    assert (drawn[0] != drawn[1]) == with_table and len(drawn[0]) == 12
    assert (tmp_path / "w" / "study.png").stat().st_size > 5_000
    assert toys.run(study, config, tmp_path / "w") == 0
    assert "This study is finished" in capsys.readouterr().out


def test_similar_sizes_lie_closer_together(made_up, table, tmp_path):
    config = tiny(table)
    job = plan(config)
    job = study.Study(job, tmp_path, job.load())
    pools = job.pools[0]
    spread = {name: np.ptp(np.log(job.cost_of(pool).params)) for name, pool in pools.items()}
    assert spread["similar"] < 0.5 * spread["diverse"]
    assert not {*SPACE.keys(pools["similar"])} & {*SPACE.keys(pools["diverse"])}


@pytest.mark.parametrize("with_table", [True, False])
def test_broken_off_anywhere_it_comes_to_the_same_end(
    made_up, table, tmp_path, monkeypatch, with_table
):
    config = tiny(table if with_table else "")
    config.study.epochs, config.study.architectures = (1,), 4
    toys.run(study, config, tmp_path / "undisturbed")
    plain, breaks = study.Study, 0
    while not (tmp_path / "broken" / workdir.STUDY).exists():
        watch = toys.breaking_at(8 + breaks % 5)
        monkeypatch.setattr(study, "Study", toys.watched(plain, watch))
        try:
            toys.run(study, config, tmp_path / "broken")
        except toys.Broken:
            breaks += 1
    assert breaks >= 4
    assert ends(tmp_path / "broken") == ends(tmp_path / "undisturbed")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"truth": "/nowhere"}, "config.truth: /nowhere cannot be read"),
        ({"study.column": "x"}, "no column 'x'; it has digits_test_acc_9ep"),
        ({"study.candidates": 11}, "at least twice config.study.architectures=6"),
        ({"study.candidates": 999}, "study.candidates=999 exceeds the 60 architectures of config"),
        ({"study.samplers": ("best",)}, "study.samplers=.'best',. must be a tuple of one or more"),
        ({"study.samplers": ("uniform", "strictly_fair")}, "draws from the whole space"),
        ({"study.epochs": (1, 1)}, "study.epochs=.1, 1. must be a tuple of one or more, all diff"),
        ({"study.epochs": (999_999_999,)}, "supernet.epochs=999999999 makes"),
        ({"truth": ""}, "final.auxiliary=True must be False: the space"),
    ],
)
def test_bad_input(table, tmp_path, changes, message):
    config = tiny(table)
    config.final.auxiliary = True  # matters only without a table
    for name, value in changes.items():
        section, _, field = name.rpartition(".")
        (config[section] if section else config)[field] = value
    with pytest.raises(UsageError, match=message):
        toys.run(study, config, tmp_path / "w")
    assert not (tmp_path / "w").exists() or not any((tmp_path / "w").iterdir())


def test_the_configs_are_sound(table):
    for variant in ("", "smoke", "nasbench201"):
        config = rank_study.get_config(variant)
        read(config, "study")
        if variant == "nasbench201":
            config.truth, config.study.column = str(table), "digits_test_acc_9ep"
            config.study.architectures, config.study.candidates = 20, 50
        study.check(plan(config, "study"))
    study.check(plan(tiny(table)))
    with pytest.raises(ValueError, match="variant 'x'"):
        rank_study.get_config("x")

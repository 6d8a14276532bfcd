"""The ranking job: its figures, its errors, and that it can be broken off."""

import json

import jax
import numpy as np
import pytest
import toys

from bnao_jax import ranking as measures
from bnao_jax.scoring import Scores
from bnao_jax.spaces.nasbench201.outline import connected, nasbench201_decisions, strata
from bnao_jax.spaces.nasbench201.space import NasBench201Space
from bnao_jax.training import supernet as supernet_training
from configs import dynamic, rank_nasbench201
from launch.command import UsageError
from launch.config.plan import plan
from launch.rank import job as rank_job
from launch.run import workdir

SPACE = nasbench201_decisions()
effective = NasBench201Space(2, 1, 10).effective
COUNT, CHUNK = 40, 7
PICTURES = ("score_against_truth", "correlation_over_training", "trained_by_size")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of made-up accuracies, and its architectures."""
    pool = np.asarray(SPACE.random(jax.random.key(3), COUNT))
    pool = np.unique(pool, axis=0)
    kinds = np.unique(effective(pool), axis=0, return_inverse=True)[1].reshape(-1)
    assert kinds.max() < len(pool) - 1  # some compute the same, and are scored once
    truth = 50 + 40 * np.sin(kinds)
    lines = [f"{SPACE.format(row)},{value:.3f}" for row, value in zip(pool, truth, strict=True)]
    path = tmp_path_factory.mktemp("truth") / "table.csv"
    path.write_text("\n".join(["arch_str,digits_test_acc_9ep", *lines]))
    return path, pool, truth.round(3) / 100


def tiny(path):
    config = rank_nasbench201.get_config("smoke")
    config.compilation_cache, config.devices = "", 1
    config.truth, config.rank.column = str(path), "digits_test_acc_9ep"
    config.data.name, config.data.shrink, config.data.pad = "digits", 1, 1
    config.data.split = "random"
    config.data.train_examples, config.data.valid_examples = 128, 40
    config.network.channels, config.network.cells = 2, 1
    config.supernet.epochs, config.supernet.batch_size = 4, 32
    config.scoring.images, config.scoring.batch_size, config.scoring.per_dispatch = 0, 40, 8
    config.rank.architectures, config.rank.points, config.rank.point_architectures = 30, 2, 10
    return config


@pytest.fixture
def made_up(monkeypatch, table):
    """In place of training and scoring: scores that come from the truth and the training."""
    _, pool, truth = table

    def train(state, material, key, steps):
        counts = np.zeros(len(material.prepared.pool), np.int32)
        counts[int(state.step) % len(counts)] += int(steps)
        weight = state.params["w"] + np.float32(np.sin(state.step + 1.0))
        report = supernet_training.Report(1.0, 0.5, counts, -1, material.prepared.pool[0])
        return supernet_training.State({"w": weight}, (), state.step + steps), report

    def evaluate(params, rows, valid, calibration, *, progress):
        accuracies = {row.tobytes(): value for row, value in zip(pool, truth, strict=True)}
        assert len(np.unique(effective(rows), axis=0)) == len(rows)
        for start in range(0, len(rows), CHUNK):
            values = np.array([accuracies[row.tobytes()] for row in rows[start : start + CHUNK]])
            progress(Scores(values.astype("f4"), (-values * params["w"]).astype("f4")))

    toys.put_for_supernets(
        monkeypatch,
        training=train,
        evaluate=evaluate,
        weight=lambda seed: 100 + seed,
    )


def files(folder):
    result = json.loads((folder / workdir.RANKING).read_text())
    del result["seconds"]
    return result, (folder / workdir.SCORES).read_text()


def test_figures_are_those_of_the_scores(made_up, table, tmp_path, capsys):
    path, pool, truth = table
    config = tiny(path)
    assert toys.run(rank_job, config, tmp_path / "w") == 0
    assert "tau b" in capsys.readouterr().out
    result, _ = files(tmp_path / "w")
    rows = [json.loads(line) for line in (tmp_path / "w" / "scores.jsonl").read_text().splitlines()]
    assert len(rows) == result["architectures"] == 30
    # By accuracy the toys rank as the truth does; by loss too, as their weight is positive.
    assert result["scores"]["accuracy"]["kendall_tau"] == pytest.approx(1)
    assert result["kendall_tau"] == result["scores"]["loss"]["kendall_tau"] == pytest.approx(1)
    assert result["kendall_tau_reach_95"] == pytest.approx(0)
    accuracies, params = np.array([(row["truth"], row["params"]) for row in rows]).T
    tau = measures.kendall_tau(params, accuracies)
    assert result["params"]["kendall_tau"] == result["macs"]["kendall_tau"] == tau
    combined = measures.rank_sum(accuracies, params)
    expected = measures.spearman(combined, accuracies)
    assert result["scores"]["loss_and_size_ranks"]["spearman"] == pytest.approx(expected)
    inside = connected(np.array([SPACE.parse(row["arch"]) for row in rows])).sum()
    assert result["connected"]["architectures"] == inside
    assert [point["step"] for point in result["over_training"]["loss"]] == [8, 16]
    assert result["agreement_of_seeds"]["loss"] == pytest.approx(1)
    shares = np.array(result["option_shares"])
    assert shares.shape == (6, 5) and shares.sum(1) == pytest.approx(1, abs=1e-3)
    assert all((tmp_path / "w" / f"{name}.png").stat().st_size > 5_000 for name in PICTURES)
    assert toys.run(rank_job, config, tmp_path / "w") == 0
    assert "This ranking is finished" in capsys.readouterr().out


def test_broken_off_anywhere_it_comes_to_the_same_end(made_up, table, tmp_path, monkeypatch):
    config = tiny(table[0])
    config.checkpoint_every_steps = 2
    toys.run(rank_job, config, tmp_path / "undisturbed")
    plain = rank_job.Ranking
    for _ in range(5):
        monkeypatch.setattr(rank_job, "Ranking", toys.watched(plain, toys.breaking_at(8)))
        with pytest.raises(toys.Broken):
            toys.run(rank_job, config, tmp_path / "broken")
    monkeypatch.setattr(rank_job, "Ranking", plain)
    assert toys.run(rank_job, config, tmp_path / "broken") == 0
    assert files(tmp_path / "broken") == files(tmp_path / "undisturbed")


def test_other_accuracies_under_the_same_name_are_refused(made_up, table, tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    path.write_text(table[0].read_text())
    config = tiny(path)
    config.checkpoint_every_steps = 2
    with monkeypatch.context() as patch:
        patch.setattr(rank_job, "Ranking", toys.watched(rank_job.Ranking, toys.breaking_at(8)))
        with pytest.raises(toys.Broken):
            toys.run(rank_job, config, tmp_path / "w")
    header, first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([header, first.rsplit(",", 1)[0] + ",12.5", *rest]))
    with pytest.raises(UsageError, match="began with other accuracies"):
        toys.run(rank_job, config, tmp_path / "w")
    config.truth = str(table[0])  # the same in another place
    assert toys.run(rank_job, config, tmp_path / "w") == 0


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"truth": ""}, "config.truth is missing"),
        ({"truth": "/nowhere"}, "config.truth: /nowhere cannot be read"),
        ({"rank.column": "x"}, "no column 'x'; it has digits_test_acc_9ep"),
        ({"rank.architectures": 10_000}, "rank.architectures=10000 exceeds the"),
        ({"rank.points": 5}, "rank.points=5 exceeds config.supernet.epochs=4"),
        ({"supernet.drop_path_keep": 0.9}, "supernet.drop_path_keep=0.9 must be 1: the space"),
        ({"data.shrink": 3}, "data.shrink=3 does not divide"),
        ({"data.split": "nasbench201"}, "divides cifar10; config.data.name is 'digits'"),
        (
            {"supernet.separate_momentum": True, "supernet.path_per_device": True},
            "needs the same path on every device",
        ),
    ],
)
def test_bad_input(table, tmp_path, changes, message):
    config = tiny(table[0])
    for name, value in changes.items():
        section, _, field = name.rpartition(".")
        (config[section] if section else config)[field] = value
    with pytest.raises(UsageError, match=message):
        toys.run(rank_job, config, tmp_path / "w")
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("module", [rank_nasbench201, dynamic])
def test_the_configs_are_sound(table, module):
    plan(module.get_config(), "rank")
    config = module.get_config("smoke")
    config.truth, config.rank.column = str(table[0]), "digits_test_acc_9ep"
    config.rank.architectures = 0
    rank_job.check(plan(config, "rank"))
    with pytest.raises(ValueError, match="variant 'x'"):
        module.get_config("x")


def test_a_real_one_with_every_rule(table, tmp_path):
    """Strata, rates by complexity and separate momenta, in the compiled step."""
    config = tiny(table[0])
    config.seeds, config.rank.points = 1, 1
    config.supernet.sampler, config.supernet.schedule = "stratified", "complexity"
    config.supernet.separate_momentum = True
    job = {}

    class Watched(rank_job.Ranking):
        def finish(self):
            job["it"] = self
            super().finish()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rank_job, "Ranking", Watched)
        assert toys.run(rank_job, config, tmp_path / "w") == 0
    result, _ = files(tmp_path / "w")
    assert result["steps"] == 16 and -1 <= result["kendall_tau"] <= 1
    progress = job["it"].progress
    assert progress.trained.sum() == 16
    trained = job["it"].pool[np.flatnonzero(progress.trained[0])]
    assert len(np.unique(strata(trained))) > 1
    # A momentum for each of the five operations of one edge; those of the others stay at zero.
    traces = progress.supernet.optimizer[2].trace["stem"]["kernel"]
    split = job["it"].space.split(config.seed)
    moved = np.abs(np.asarray(traces)).reshape(5, -1).max(1) > 0
    np.testing.assert_array_equal(np.flatnonzero(moved), np.unique(trained[:, split]))
    assert int(progress.supernet.step) == 16
    assert len(job["it"].programs.rules) == 2

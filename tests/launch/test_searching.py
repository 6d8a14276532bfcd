"""How a search is kept, continued and ended, with toys in place of training and scoring."""

import dataclasses
import json
import resource

import jax
import numpy as np
import pytest
import toys
from tiny import tiny

from bnao_jax import data
from bnao_jax.checkpoint import CheckpointError, Checkpoints
from bnao_jax.comparison import difference
from bnao_jax.objective import Measured, score
from bnao_jax.scoring import Scores
from launch.command import UsageError
from launch.config.plan import plan
from launch.run import job as jobs
from launch.run import workdir
from launch.search import baseline
from launch.search import job as search_job

CHUNK = 5  # architectures scored at once
NETWORKS = 6  # of the baseline: two of each of three groups


def toy_config(**changes):
    config = tiny()
    config.search.strategy, config.final.top, config.checkpoint_every_steps = "random", 0, 2
    config.search.rounds = 2
    config.random_baseline.networks, config.random_baseline.epochs = changes.pop("networks", 0), 2
    config.bonas.epochs, config.bonas.batch_size, config.bonas.generations = 2, 8, 2
    config.supernet.from_scratch = changes.pop("from_scratch", False)
    config.scoring.score = changes.pop("score", "accuracy")
    config.search.update(changes)
    return config


def toy_evaluate(params, pool, valid, calibration, *, progress):
    for start in range(0, len(pool), CHUNK):
        rows = pool[start : start + CHUNK]
        accuracies = (0.5 + 0.5 * np.sin(rows.sum(1) * params["w"])).astype(np.float32)
        progress(Scores(accuracies, (1.5 - np.cos(rows[:, 0] + accuracies)).astype(np.float32)))


@pytest.fixture
def make(monkeypatch):
    """Makes searches with toys; `make(folder, watch, **changes)` runs one to its end."""

    toys.put_for_supernets(monkeypatch, evaluate=toy_evaluate)

    def run(folder, watch=lambda job: None, **changes):
        with monkeypatch.context() as patch:
            patch.setattr(search_job, "Search", toys.watched(search_job.Search, watch))
            return toys.run(search_job, toy_config(**changes), folder)

    return run


def ends(folder):
    """What a search leaves, without times."""
    result = json.loads((folder / "result.json").read_text())
    del result["seconds"]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows = [row | {"seconds": 0} for row in rows]
    checkpoints = Checkpoints(folder / "checkpoints")
    weight = checkpoints.newest().arrays["supernet/params/w"]
    checkpoints.close()
    return result, rows, (folder / "pool.jsonl").read_text(), weight.item()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def expected(make, shared):
    """What a search leaves that nobody disturbed."""
    assert make(shared / "undisturbed") == 0
    return ends(shared / "undisturbed")


def broken_off(make, folder, first, **changes):
    """Runs a search to its end, broken off a little further each time; returns how often."""
    breaks = 0
    while True:
        try:
            make(folder, toys.breaking_at(first + breaks % 6), **changes)
            return breaks
        except toys.Broken:
            breaks += 1


def test_broken_off_at_every_look_it_comes_to_the_same_end(make, tmp_path):
    make(tmp_path / "undisturbed", networks=2)
    assert broken_off(make, tmp_path / "work", 2, networks=2) > 5
    assert ends(tmp_path / "work") == ends(tmp_path / "undisturbed")


ONCE = dict(rounds=4, trained_rounds=1)
FRESH = dict(rounds=3, from_scratch=True)


def counting(scored):
    """A watch that appends the size of every pool that is scored."""

    def watch(job):
        evaluate = job.programs.evaluate

        def counted(params, pool, *args, **named):
            scored.append(len(pool))
            evaluate(params, pool, *args, **named)

        toys.exchange(job, evaluate=counted)

    return watch


def test_rounds_that_train_nothing_score_what_is_new(make, tmp_path):
    folder, scored = tmp_path / "work", []
    make(folder, counting(scored), **ONCE)
    assert scored == [12, 4, 4, 4]  # the initial ones, three rounds of proposals
    result, rows, pool, weight = ends(folder)
    assert result["supernet_steps"] == 8
    assert [row["phase"] for row in rows] == ["train"] * 8 + ["round"] * 4
    for row in map(json.loads, pool.splitlines()):
        architecture = np.array(row["arch"].split(), int)
        expected = 0.5 + 0.5 * np.sin(architecture.sum() * weight)
        np.testing.assert_allclose(row["score"], expected, atol=1e-5)


@pytest.mark.parametrize(
    "kind, changes",
    [("loss", {}), *[("loss_and_size", changes) for changes in ({}, ONCE, FRESH)]],
    ids=["loss", "trained", "once", "fresh"],
)
def test_the_search_learns_from_the_score_that_is_asked_for(make, tmp_path, kind, changes):
    """And comes to the same end when it is broken off; the files have all that was measured."""
    folder, broken = tmp_path / "work", tmp_path / "broken"
    make(folder, **changes, score=kind)
    result, rows, *_ = ends(folder)
    assert result["scored_by"] == kind

    def read(name):
        rows = [json.loads(line) for line in (folder / name).read_text().splitlines()]
        return Measured(*np.array([[row[n] for row in rows] for n in Measured._fields])), [
            row["score"] for row in rows
        ]

    measured, scores = read("pool.jsonl")
    last = [row for row in rows if row["phase"] == "round"][-1]
    np.testing.assert_allclose(scores, score(kind, measured), rtol=1e-5, atol=1e-6)
    assert result["best"][0]["score"] == max(scores) == pytest.approx(last["best"])
    assert last["accuracy_of_best"] == measured.accuracy[np.argmax(scores)]
    for number in (5, 14):
        with pytest.raises(toys.Broken):
            make(broken, toys.breaking_at(number), **changes, score=kind)
    make(broken, **changes, score=kind)
    assert ends(broken) == ends(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_counts_as_the_worst(make, tmp_path, capsys, value):
    def spoiling(every):
        def watch(job):
            evaluate = job.programs.evaluate

            def spoiled(*args, progress, **named):
                def on_scores(results):
                    loss = np.where(np.arange(len(results.loss)) % every, results.loss, value)
                    progress(results._replace(loss=loss.astype(np.float32)))

                evaluate(*args, progress=on_scores, **named)

            toys.exchange(job, evaluate=spoiled)

        return watch

    make(tmp_path / "some", spoiling(2), score="loss")
    assert "losses are not finite; the worst is taken" in capsys.readouterr().out
    text = (tmp_path / "some" / "pool.jsonl").read_text()
    rows = [json.loads(line) for line in text.splitlines()]
    worst = max(row["loss"] for row in rows)
    assert np.isfinite(worst) and sum(row["loss"] == worst for row in rows) > len(rows) // 3
    with pytest.raises(jobs.TrainingError, match="no loss is finite in round 1 of 2, score"):
        make(tmp_path / "all", spoiling(1), score="loss")


# As configs/spos.py and configs/bonas.py search.
@pytest.mark.parametrize("strategy, changes", [("evolution", ONCE), ("bonas", FRESH)])
def test_broken_off_it_comes_to_the_same_end_with_any_strategy(make, tmp_path, strategy, changes):
    make(tmp_path / "undisturbed", strategy=strategy, **changes)
    assert broken_off(make, tmp_path / "work", 5, strategy=strategy, **changes) > 2
    expected = ends(tmp_path / "undisturbed")
    assert ends(tmp_path / "work") == expected
    assert expected[0]["strategy"] == strategy


def test_rounds_of_new_weights_score_their_own_architectures(make, tmp_path):
    scored = []
    make(tmp_path / "undisturbed", counting(scored), **FRESH)
    assert scored == [12, 4, 4]
    result, _, pool, weight = ends(tmp_path / "undisturbed")
    assert result["supernet_steps"] == 3 * 8
    for row in map(json.loads, pool.splitlines()):
        architecture = np.array(row["arch"].split(), int)
        # The weight at the end of every round is the same: each begins with the first one's.
        expected = 0.5 + 0.5 * np.sin(architecture.sum() * weight)
        np.testing.assert_allclose(row["score"], expected, atol=1e-5)


def test_new_weights_each_round_go_with_training_alone(make, tmp_path):
    with pytest.raises(UsageError, match="config.supernet.from_scratch=True"):
        make(tmp_path / "work", **FRESH | {"trained_rounds": 1})


def test_found_and_random_architectures_are_trained_and_judged_alike(make, tmp_path):
    make(tmp_path, networks=2)
    result, rows, pool, _ = ends(tmp_path)
    lines = (tmp_path / "baseline.jsonl").read_text().splitlines()
    groups = {}
    for row in map(json.loads, lines):
        groups.setdefault(row["group"], []).append(row)
    assert tuple(groups) == baseline.GROUPS and len(lines) == NETWORKS
    # Each has its own weight, which began with its own key and was trained for eight steps.
    steps = [row["network"] for row in rows if row["phase"] == "baseline"]
    assert steps == [n for n in range(1, NETWORKS + 1) for _ in range(8)]
    searched = [json.loads(line) for line in pool.splitlines()]
    texts = {row["arch"] for row in searched}
    best = sorted(searched, key=lambda row: -row["score"])
    assert [row["arch"] for row in groups["found"]] == [row["arch"] for row in best[:2]]
    others = [row for name in baseline.GROUPS[1:] for row in groups[name]]
    assert not texts & {row["arch"] for row in others}
    sizes = np.log([[row["params"] for row in groups[name]] for name in baseline.GROUPS])
    assert np.abs(sizes[2] - sizes[0]).max() < 0.1  # a thousand candidates
    judged = {name: [row["judged"] for row in group] for name, group in groups.items()}
    for key, group in (
        ("against_random", "random"),
        ("against_random_of_same_size", "random of the same sizes"),
    ):
        against = difference(judged["found"], judged[group])
        assert result[key]["difference"] == pytest.approx(against.mean)
        assert result[key]["verdict"] == against.verdict
        assert result[key]["found"] == pytest.approx(np.mean(judged["found"]))


def test_without_a_baseline_nothing_is_compared(make, tmp_path):
    make(tmp_path, networks=0)
    result, rows, *_ = ends(tmp_path)
    assert "against_random" not in result and not (tmp_path / "baseline.jsonl").exists()
    assert "baseline" not in {row["phase"] for row in rows}


def test_the_best_alone_comes_first(make, tmp_path, monkeypatch):
    trained = []

    def train_standalone(job, architecture, key, *, title):
        trained.append((title[: title.index(":")], job.decisions.format(architecture)))
        return np.cos(3.0 * len(trained)), 0.0

    monkeypatch.setattr(search_job.Search, "train_standalone", train_standalone)
    config = toy_config()
    config.final.top = 3
    assert toys.run(search_job, config, tmp_path / "work") == 0
    result, _, pool, _ = ends(tmp_path / "work")
    assert [place for place, _ in trained] == [f"final {n} of 3" for n in (1, 2, 3)]
    standalone = {arch: np.cos(3.0 * (n + 1)) for n, (_, arch) in enumerate(trained)}
    reached = [row["standalone_accuracy"] for row in result["best"]]
    assert reached == sorted((standalone[arch] for _, arch in trained), reverse=True)
    assert [row["standalone_accuracy"] for row in result["best"]] == [
        standalone[row["arch"]] for row in result["best"]
    ]
    scores = sorted(json.loads(line)["score"] for line in pool.splitlines())
    assert sorted(row["score"] for row in result["best"]) == scores[-3:]


def test_a_loss_that_is_not_finite_ends_the_search_and_the_last_checkpoint_stays(
    make, expected, tmp_path
):
    folder = tmp_path / "work"

    def fail(job):
        toys.exchange(job, train=toys.train(failing=5))

    message = "not finite at step 5 of round 1, learning rate 0.1, architecture [0-9 ]+$"
    with pytest.raises(jobs.TrainingError, match=message):
        make(folder, fail)
    kept = Checkpoints(folder / "checkpoints").newest()
    assert kept.facts["where"] == "round 1 of 2, train, step 4"
    make(folder)  # whatever it was is mended
    assert ends(folder) == expected


def test_weights_that_are_not_finite_are_not_kept(make, tmp_path):
    def fail(job):
        toys.exchange(job, train=toys.train(rate=np.float32("inf")))

    with pytest.raises(jobs.TrainingError, match="weights are not finite in round 1 of 2"):
        make(tmp_path / "work", fail)
    assert Checkpoints(tmp_path / "work/checkpoints").newest() is None


def test_a_damaged_checkpoint_costs_a_little_time(make, expected, tmp_path, capsys):
    folder = tmp_path / "work"
    with pytest.raises(toys.Broken):
        make(folder, toys.breaking_at(20))
    newest = max((folder / "checkpoints").iterdir(), key=lambda path: int(path.name))
    for file in newest.glob("arrays/**/d/*"):
        file.write_bytes(file.read_bytes()[:-1])
    capsys.readouterr()
    make(folder)
    out = capsys.readouterr().out
    assert f"warning: {folder}/damaged/{newest.name} is damaged" in out
    assert f"continuing from checkpoint {int(newest.name) - 1}" in out
    assert ends(folder) == expected


def test_a_folder_that_vanishes_ends_the_search(make, tmp_path):
    folder = tmp_path / "work"

    def vanish(job):
        evaluate = job.programs.evaluate

        def evaluate_and_vanish(*args, **named):
            folder.rename(tmp_path / "gone")
            evaluate(*args, **named)

        toys.exchange(job, evaluate=evaluate_and_vanish)

    with pytest.raises((UsageError, CheckpointError), match=str(folder)):
        make(folder, vanish)


def test_a_full_disk_ends_the_search_and_keeps_what_was_kept(make, expected, tmp_path):
    folder = tmp_path / "work"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_up(job):
        evaluate = job.programs.evaluate

        def evaluate_on_a_full_disk(*args, **named):
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
            evaluate(*args, **named)

        toys.exchange(job, evaluate=evaluate_on_a_full_disk)

    try:
        with pytest.raises((UsageError, CheckpointError), match="cannot be written|File too large"):
            make(folder, fill_up)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    make(folder)
    assert ends(folder) == expected


def test_other_images_are_refused(make, tmp_path, monkeypatch):
    folder, load = tmp_path / "work", data.load
    with pytest.raises(toys.Broken):
        make(folder, toys.breaking_at(9))

    def load_others(*args, **named):
        images = load(*args, **named)
        return dataclasses.replace(images, train_images=images.train_images[::-1].copy())

    monkeypatch.setattr(data, "load", load_others)
    with pytest.raises(UsageError, match="other images"):
        make(folder)


def test_other_latencies_are_refused_and_the_same_may_have_moved(make, expected, tmp_path):
    folder, decisions = tmp_path / "work", plan(toy_config()).space().decisions
    pool = np.asarray(decisions.random(jax.random.key(0), 9))
    texts = [decisions.format(row) for row in pool]
    table, moved = tmp_path / "latencies.jsonl", tmp_path / "moved.jsonl"

    def write(path, seconds):
        rows = [{"arch": arch, "latency": [{"batch": 1, "median": seconds}]} for arch in texts]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    write(table, 1.0)
    with pytest.raises(toys.Broken):
        make(folder, toys.breaking_at(9), latencies=str(table), max_latency=2.0)
    write(table, 1.5)
    with pytest.raises(UsageError, match="began with other latencies"):
        make(folder, latencies=str(table), max_latency=2.0)
    write(moved, 1.0)
    make(folder, latencies=str(moved), max_latency=2.0)
    assert ends(folder)[2:] == expected[2:]  # the limit held nothing back


def test_a_checkpoint_of_a_stranger_is_data_only(make, tmp_path):
    """Whatever lies in a workdir is read as arrays and JSON; a pickle in it is never opened."""
    folder, opened = tmp_path / "work", tmp_path / "opened"
    with pytest.raises(toys.Broken):
        make(folder, toys.breaking_at(9))
    harmful = f"cos\nsystem\n(S'touch {opened}'\ntR.".encode()
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.name not in (workdir.CONFIG, workdir.LOCK):
            path.write_bytes(harmful)
    with pytest.raises(CheckpointError, match="all checkpoints of .* are damaged"):
        make(folder)
    assert not opened.exists()


def test_killed_before_the_first_checkpoint_it_begins_again(make, expected, tmp_path, monkeypatch):
    folder = tmp_path / "work"

    def fail(path):
        path.mkdir()
        raise toys.Broken

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "Checkpoints", fail)
        with pytest.raises(toys.Broken):
            make(folder)
    make(folder)
    assert ends(folder) == expected


def test_time_before_a_break_counts(make, tmp_path):
    folder = tmp_path / "work"
    with pytest.raises(toys.Broken):
        make(folder, toys.breaking_at(4))
    kept = Checkpoints(folder / "checkpoints").newest()
    assert "train" in kept.facts["where"] and kept.facts["spent"]["train"] > 0


def test_a_foreign_result_is_written_again(make, expected, tmp_path):
    folder = tmp_path / "work"
    make(folder)
    (folder / "result.json").write_text("{}")
    make(folder)
    assert ends(folder) == expected

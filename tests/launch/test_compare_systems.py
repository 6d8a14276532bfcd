"""Whole systems side by side: searches with toys in place of training and scoring."""

import json

import jax
import numpy as np
import pytest
import toys
from test_searching import toy_evaluate
from tiny import tiny

from bnao_jax.comparison import paired
from configs import compare_quickstart
from launch.command import UsageError
from launch.compare import systems
from launch.config.plan import plan
from launch.search import job as search_job

SYSTEMS = ("bonas", "spos", "random")
SEEDS = 2


def tiny_comparison(*, nao=False):
    config, small = compare_quickstart.get_config(), tiny()
    for name in ("data", "space", "network", "supernet", "scoring", "search", "nao", "final"):
        config[name] = small[name]
    config.compilation_cache, config.devices, config.seeds = "", 1, SEEDS
    config.search.rounds = 2
    config.random_baseline.networks, config.random_baseline.epochs, config.final.top = 2, 1, 0
    config.bonas.epochs, config.bonas.batch_size, config.bonas.generations = 2, 8, 2
    del config.systems.balanced_nao
    if not nao:  # whose programs take longest to compile
        del config.systems.nao_ws
    config.systems.spos.supernet.epochs = config.search.rounds * config.supernet.epochs
    return config


@pytest.fixture(scope="module")
def scored():
    return []


@pytest.fixture
def toy_searches(monkeypatch, scored):
    def evaluate(params, pool, *args, **named):
        scored.append(len(pool))
        toy_evaluate(params, pool, *args, **named)

    toys.put_for_supernets(monkeypatch, evaluate=evaluate)
    monkeypatch.setattr(jax, "clear_caches", lambda: None)  # few searches fit into the memory


@pytest.fixture
def finished(toy_searches, scored, tmp_path_factory):
    """The folder of a comparison that nobody disturbed; it is made once."""
    folder = tmp_path_factory.getbasetemp() / "compared"
    if not folder.exists():
        scored.clear()
        assert toys.run(systems, tiny_comparison(), folder) == 0
    return folder


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_all_begin_alike_and_are_judged_alike(finished, scored):
    rows = lines_of(finished / "searches.jsonl")
    assert [(row["system"], row["seed"]) for row in rows] == [
        (name, seed) for seed in range(SEEDS) for name in SYSTEMS
    ]
    for row in rows:
        folder = finished / f"{row['system']}-{row['seed']}"
        same_seed = finished / f"random-{row['seed']}"
        begun = lambda path: [one["arch"] for one in lines_of(path / "pool.jsonl")[:12]]
        assert begun(folder) == begun(same_seed)
        networks = lines_of(folder / "baseline.jsonl")
        assert [one["group"] for one in networks] == ["found"] * 2
        assert row["archs"] == [one["arch"] for one in networks]
        assert row["mean"] == pytest.approx(np.mean([one["judged"] for one in networks]))
        best = max(one["accuracy"] for one in networks)
        chosen = [one["judged"] for one in networks if one["accuracy"] == best]
        assert row["chosen"] == pytest.approx(np.mean(chosen))
        assert json.loads((folder / "config.json").read_text())["seed"] == row["seed"]
    assert len({row["steps"] for row in rows}) == 1
    # The two networks of each search are scored and judged, each by itself.
    assert sum(scored) == sum(row["scorings"] for row in rows) + len(rows) * 2 * 2


def test_result_picture_and_table(finished, capsys):
    result = json.loads((finished / "comparison.json").read_text())
    rows = lines_of(finished / "searches.jsonl")
    means = {name: [r["mean"] for r in rows if r["system"] == name] for name in SYSTEMS}
    assert tuple(result["systems"]) == SYSTEMS and len(result["pairs"]) == 3
    for name in SYSTEMS[:-1]:
        expected, pair = paired(means[name], means["random"]), result["pairs"][f"{name} - random"]
        assert (pair["difference"], pair["low"]) == pytest.approx((expected.mean, expected.low))
        assert pair["verdict"] == expected.verdict
        assert result["systems"][name]["mean"] == pytest.approx(np.mean(means[name]))
    assert (finished / "systems.png").stat().st_size > 10_000
    assert toys.run(systems, tiny_comparison(), finished) == 0
    printed = capsys.readouterr().out
    assert "This comparison is finished" in printed and "6 of 6" not in printed
    assert all(name in printed for name in SYSTEMS) and "2 searches of each system" in printed


def plain(folder):
    result = json.loads((folder / "comparison.json").read_text())
    for row in result["systems"].values():
        del row["seconds"]
    return result


def test_broken_off_it_comes_to_the_same_end(finished, tmp_path, monkeypatch, capsys):
    folder, searches = tmp_path / "work", []

    def watch(job):
        searches.append(job)
        if len(searches) == 2:
            toys.breaking_at(20)(job)

    with monkeypatch.context() as patch:
        patch.setattr(search_job, "Search", toys.watched(search_job.Search, watch))
        with pytest.raises(toys.Broken):
            toys.run(systems, tiny_comparison(), folder)
    assert not (folder / "comparison.json").exists()
    capsys.readouterr()
    assert toys.run(systems, tiny_comparison(), folder) == 0
    out = capsys.readouterr().out
    assert "search 2 of 6: spos, seed 0" in out and "search 1 of 6" not in out
    assert "continuing from checkpoint" in out and "minutes left" in out
    assert plain(folder) == plain(finished)


def test_a_search_that_is_asked_to_stop_stops_the_comparison(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(search_job, "run", lambda plan, folder: asked.append(folder) or 130)
    assert toys.run(systems, tiny_comparison(), tmp_path / "work") == 130
    assert len(asked) == 1 and f"--workdir={tmp_path / 'work'}" in capsys.readouterr().out
    assert not (tmp_path / "work" / "comparison.json").exists()


def test_results_that_cannot_be_read_are_named(finished, tmp_path, monkeypatch):
    def leave_nonsense(plan, folder):
        path = tmp_path / folder
        path.mkdir(parents=True)
        (path / "result.json").write_text("{}")
        return 0

    monkeypatch.setattr(search_job, "run", leave_nonsense)
    with pytest.raises(UsageError, match="bonas-0: its results cannot be read"):
        toys.run(systems, tiny_comparison(), tmp_path / "work")


@pytest.mark.parametrize(
    "change, message",
    [
        ({"systems.spos.supernet.epochs": 1}, "epochs of the supernet, all rounds .*: 4 and 1;"),
        ({"systems.nao_ws.search.proposals": 9}, "architectures, all rounds together: 16 and 21"),
        ({"systems.bonas.network.channels": 4}, "differ in config.network;"),
        ({"systems.bonas.search.max_params": 10}, "config.search.max_params"),
        ({"systems.bonas.random_baseline.epochs": 9}, "differ in config.random_baseline"),
        ({"systems.nao_ws.supernet.sampler": "best"}, "systems.nao_ws: config.supernet.sampler="),
        ({"systems.nao_ws.supernet.samplers": "uniform"}, "nao_ws: config.supernet.samplers: ther"),
        ({"systems.nao_ws.supernets.sampler": "uniform"}, "systems.nao_ws: supernets: there is no"),
        ({"systems.nao_ws": 3}, "systems.nao_ws: it holds sections with fields"),
        ({"systems.nao-ws.supernet.sampler": "uniform"}, "a name is letters, digits and _"),
        ({"systems": {}}, "config.systems: a comparison needs two systems"),
        ({"against": "chance"}, "config.against='chance' is not one of"),
        ({"random_baseline.networks": 0}, "config.random_baseline.networks=0"),
        ({"supernet.sampler": "best"}, "^config.supernet.sampler='best' must be one of"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, message):
    config = tiny_comparison(nao=True)
    with config.unlocked():
        for name, value in change.items():
            *sections, field = name.split(".")
            section = config
            for one in sections:
                if one not in section:
                    section[one] = type(config)()
                section = section[one]
            with section.ignore_type():
                section[field] = type(config)(value) if isinstance(value, dict) else value
    with pytest.raises(UsageError, match=message) as refused:
        plan(config)
    assert len(str(refused.value).splitlines()) == 1

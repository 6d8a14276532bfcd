"""Strategies side by side on a table."""

import json

import numpy as np
import pytest
import toys

from bnao_jax.spaces.nao.outline import nao_decisions
from bnao_jax.spaces.nao.space import NaoSpace
from bnao_jax.spaces.nasbench201.outline import everything, nasbench201_decisions
from bnao_jax.teacher import Teacher
from configs import tabular, teacher
from launch.command import UsageError
from launch.compare import table as compare_job
from launch.config.plan import plan

COLUMNS = ("cifar10_valid_acc_12ep", "cifar10_test_acc_200ep")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of all architectures, whose accuracies are sums over the edges."""
    values = np.random.default_rng(0).uniform(0, 15, size=(2, 6, 5))
    space, path = nasbench201_decisions(), tmp_path_factory.mktemp("table") / "truth.csv"
    sums = values[:, np.arange(6), everything()].sum(-1)  # [column, P]
    lines = [
        f"{space.format(row)},{first:.4f},{second:.4f}"
        for row, first, second in zip(everything(), *sums, strict=True)
    ]
    path.write_text("\n".join([",".join(("arch_str", *COLUMNS)), *lines]) + "\n")
    return path


def tiny(table):
    config = tabular.get_config()
    config.truth, config.seeds, config.compilation_cache = str(table), 2, ""
    config.search.initial, config.search.rounds, config.search.proposals = 20, 3, 10
    config.nao.epochs, config.nao.parents, config.nao.mutants, config.nao.step_sizes = 2, 5, 10, 2
    config.bonas.epochs, config.bonas.generations = 10, 5
    config.comparison.evaluations = (20, 40)
    return config


@pytest.fixture(scope="module")
def finished(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare") / "work"
    assert toys.run(compare_job, tiny(table), str(folder)) == 0
    return folder


def rows_of(folder):
    return [json.loads(line) for line in (folder / "searches.jsonl").read_text().splitlines()]


def test_searches_of_a_seed_begin_alike_and_know_only_the_first_column(finished, table):
    rows, space = rows_of(finished), nasbench201_decisions()
    by_text = dict(
        line.rsplit(",", 2)[::2] for line in table.read_text().splitlines()[1:]
    )  # text to the last column
    assert len(rows) == 2 * 4
    for row in rows:
        space.parse(row["best"])
        assert len(row["score"]) == len(row["final"]) == 40
        assert (np.diff(row["score"]) >= 0).all()
        assert row["final"][-1] == pytest.approx(float(by_text[row["best"]]) / 100, abs=1e-6)
        same = [other for other in rows if other["seed"] == row["seed"]]
        assert all(other["score"][:20] == row["score"][:20] for other in same)
    assert rows[0]["score"][:20] != rows[4]["score"][:20]


def test_result_and_summary(finished, capsys):
    rows, result = rows_of(finished), json.loads((finished / "comparison.json").read_text())
    top = result["best_of_table"]["final"]
    for name, row in result["strategies"].items():
        regrets = [top - r["final"][39] for r in rows if r["strategy"] == name]
        low, median, high = row["after"]["40"]["regret"]
        assert median == pytest.approx(np.mean(regrets)) and low <= median <= high
        assert row["after"]["40"]["regret_mean"] == pytest.approx(np.mean(regrets))
        assert len(row["regret"][1]) == 40
    assert (finished / "regret.png").read_bytes().startswith(b"\x89PNG")
    assert toys.run(compare_job, tiny_of(finished), str(finished)) == 0
    printed = capsys.readouterr().out
    assert "This comparison is finished" in printed and "after 40" in printed
    assert all(name in printed for name in result["strategies"])


def test_teachers_take_the_place_of_a_table(tmp_path, capsys):
    config = teacher.get_config()
    config.seeds, config.search.initial, config.search.rounds, config.search.proposals = 2, 9, 2, 6
    config.comparison.strategies, config.comparison.evaluations = ("evolution", "random"), (9, 15)
    config.comparison.noise, config.space.nodes = 1.0, 2
    assert toys.run(compare_job, config, str(tmp_path / "w")) == 0
    result = json.loads((tmp_path / "w" / "comparison.json").read_text())
    rows, space = rows_of(tmp_path / "w"), nao_decisions("small", 2)
    of = {(row["strategy"], row["seed"]): row for row in rows}
    make = lambda seed: Teacher("graph", NaoSpace.of(*parts_of(config)), seed, noise=1.0)
    for (_, seed), row in of.items():
        best = space.parse(row["best"])[None]
        assert row["final"][-1] == pytest.approx(make(seed).of(best).item(), abs=1e-5)
        assert row["score"][-1] == pytest.approx(make(seed).of(best, "score").item(), abs=1e-5)
    found = lambda name: np.array([of[name, seed]["final"][14] for seed in (0, 1)])
    pair = result["pairs"]["evolution - random"]
    assert pair["15"]["difference"] == pytest.approx(np.mean(found("evolution") - found("random")))
    assert pair["9"]["difference"] == 0 and result["best_of_table"] is None
    assert (tmp_path / "w" / "found.png").exists()
    out = capsys.readouterr().out
    assert "Found: value of the best by score" in out and "evolution - random" in out


def parts_of(config):
    """Settings of the space and of the network, and classes."""
    settings = plan(config).settings
    return settings.space, settings.network, 10


def tiny_of(folder):
    return tiny(json.loads((folder / "config.json").read_text())["truth"])


def test_what_was_broken_off_goes_on_to_the_same_end(finished, table, tmp_path, capsys):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "config.json").write_text((finished / "config.json").read_text())
    kept = (finished / "searches.jsonl").read_text().splitlines()[:6]
    (folder / "searches.jsonl").write_text("\n".join(kept) + "\n")
    assert toys.run(compare_job, tiny(table), str(folder)) == 0
    assert "6 of 8 searches are done" in capsys.readouterr().out
    plain = lambda folder: [row | {"seconds": 0} for row in rows_of(folder)]
    assert plain(folder) == plain(finished)
    (folder / "comparison.json").unlink()
    kept = [json.dumps(json.loads(line) | {"truth": 1}) for line in kept]
    (folder / "searches.jsonl").write_text("\n".join(kept) + "\n")
    with pytest.raises(UsageError, match="began with other accuracies"):
        toys.run(compare_job, tiny(table), str(folder))


def test_searches_of_other_seeds_are_continued_too(table, tmp_path, capsys):
    config, folder = tiny(table), str(tmp_path / "w")
    config.seed, config.comparison.strategies = 5, ("evolution", "random")
    assert toys.run(compare_job, config, folder) == 0
    (tmp_path / "w" / "comparison.json").unlink()
    assert toys.run(compare_job, config, folder) == 0
    assert "4 of 4 searches are done" in capsys.readouterr().out
    assert [row["seed"] for row in rows_of(tmp_path / "w")] == [5, 5, 6, 6]


def test_the_best_so_far():
    assert compare_job.best_so_far([3, 1, 3, 5, 4, 5]).tolist() == [0, 0, 0, 3, 3, 3]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"truth": ""}, "config.truth is missing"),
        ({"truth": "teacher:me"}, "config.truth: teacher 'me' is not one of"),
        ({"truth": "teacher:sum"}, "config.truth: a teacher has the columns score and value"),
        ({"comparison.noise": 1.0}, "config.comparison.noise is a teacher's"),
        ({"comparison.evaluations": (50,)}, "asks for 50; config.search makes 40"),
        ({"comparison.column": "cifar10_test_acc_7ep"}, "no column"),
        ({"comparison.strategies": ("nao", "ants")}, "comparison.strategies"),
        ({"search.proposals": 4_000}, "holds 4930"),
        ({"nao.held_out": 0.99}, "leaves none"),
        ({"bonas.tournament": 0}, "bonas.tournament=0 must be"),
        ({"evolution.mutation_rate": 0.0}, "evolution.mutation_rate=0.0 must be above 0"),
    ],
)
def test_bad_input_is_refused_before_any_search(change, message, table, tmp_path):
    config = tiny(table)
    config.update_from_flattened_dict(change)
    with pytest.raises(UsageError, match=message):
        toys.run(compare_job, config, str(tmp_path / "work"))
    assert not (tmp_path / "work").exists()


def test_a_table_with_holes_is_refused(table, tmp_path):
    part = tmp_path / "part.csv"
    part.write_text("\n".join(table.read_text().splitlines()[:100]))
    with pytest.raises(UsageError, match="has 99 architectures"):
        toys.run(compare_job, tiny(part), str(tmp_path / "work"))

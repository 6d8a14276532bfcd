"""The entry points as a user meets them."""

import json
import re

import jax
import pytest
import toys
from command_lines import play_command
from tiny import cells, in_widths, tiny

from bnao_jax.spaces.nao.cost import cost
from bnao_jax.spaces.nao.outline import Outline
from configs import bonas, cifar, nao_ws, quickstart, random_search
from launch.command import UsageError
from launch.config.plan import plan
from launch.run import workdir
from launch.search import job as search_job

NAONET_V2 = "1 1 0 1 2 4 0 0 0 0 2 1 0 0 0 2 0 3 0 0 0 2 0 2 2 2 1 0 0 0 0 1 0 0 0 3 0 0 0 1"


def small_search():
    """One final network: it is a program of its own."""
    config = in_widths(tiny())
    config.final.top = 1
    return config


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A whole search in this process, and how many programs were compiled after each round."""
    compiled, after_round = [], []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: compiled.append(event) if event.endswith(COMPILED) else None
    )
    folder = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as patch:
        plain = search_job.Search.on_round

        def on_round(self, state, facts):
            plain(self, state, facts)
            after_round.append(len(compiled))

        patch.setattr(search_job.Search, "on_round", on_round)
        toys.run(search_job, small_search(), folder)
    return folder, after_round


COMPILED = "backend_compile_duration"


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_pool_file(searched):
    folder, _ = searched
    config = small_search()
    rows = read(folder / "pool.jsonl")
    space = plan(config).space()
    pool = space.decisions.parse_lines([row["arch"] for row in rows])
    assert len(set(space.decisions.keys(pool))) == len(rows) == 24
    assert [row["round"] for row in rows] == [1] * 12 + [2] * 4 + [3] * 4 + [4] * 4
    assert all(0 <= row["score"] <= 1 for row in rows)
    costs = space.cost(pool, (8, 8, 1))
    assert [row["params"] for row in rows] == costs.params.tolist()
    assert [row["macs"] for row in rows] == costs.macs.tolist()
    assert costs.params.max() <= config.search.max_params
    steps = config.supernet.epochs * (128 // 32)
    for number in (1, 2, 3, 4):
        trained = [row["times_trained"] for row in rows if row["round"] == number]
        assert sum(trained) == steps


def test_cells_are_searched_with_drop_path(tmp_path):
    """The space of the main job; its networks alone are trained in test_trained."""
    config = tiny()
    config.space.nodes, config.search.rounds = 1, 1
    config.final.top, config.random_baseline.networks, config.nao.parents = 0, 0, 6
    assert config.supernet.drop_path_keep < 1
    assert toys.run(search_job, config, tmp_path / "work") == 0
    rows = read(tmp_path / "work" / "pool.jsonl")
    assert len({row["loss"] for row in rows}) == len(rows) == 12
    (best,) = json.loads((tmp_path / "work" / "result.json").read_text())["best"][:1]
    assert best["score"] == max(row["score"] for row in rows)


def test_result_file(searched):
    folder, _ = searched
    result = json.loads((folder / "result.json").read_text())
    assert len(result["best"]) == 1 and result["against_random"]["networks"] == 2
    scores = {row["arch"]: row["score"] for row in read(folder / "pool.jsonl")}
    assert result["best"][0]["score"] == max(scores.values())
    assert all(0 <= row["standalone_accuracy"] <= 1 for row in result["best"])
    assert set(result["seconds"]) == {
        "train",
        "score",
        "strategy",
        "baseline",
        "final",
        "compilation",
    }
    machine = json.loads((folder / "machine.json").read_text())
    assert machine["versions"] == result["versions"] and machine["devices"] == 1
    assert result["versions"]["jax"] == jax.__version__
    phases = {row["phase"] for row in read(folder / "metrics.jsonl")}
    assert phases == {"train", "round", "final", "baseline"}
    assert json.loads((folder / "config.json").read_text())["search"]["initial"] == 12


def test_compilations_do_not_grow_with_the_architectures(searched):
    _, after_round = searched
    assert after_round[0] > 0
    # Later rounds bring new architectures and longer pools, and compile nothing.
    assert after_round[3] == after_round[2] == after_round[1]


def test_a_search_goes_on_with_the_same_config_only(searched):
    folder, _ = searched
    config = small_search()
    config.supernet.epochs, config.search.max_params = 3, None
    with pytest.raises(UsageError, match="epochs was 2 and is 3.*--restart") as refused:
        toys.run(search_job, config, folder)
    assert "config.search.max_params was 700 and is None" in str(refused.value)
    (config.seed, config.data.pad), config.supernet.clip = (1, 0), 1.0
    with pytest.raises(UsageError, match="; and 2 more; choose another folder"):
        toys.run(search_job, config, folder)
    config = small_search()  # how it runs may change
    config.devices, config.checkpoint_every_seconds, config.scoring.per_dispatch = 2, 7, 1
    assert toys.run(search_job, config, folder) == 0


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "pool.jsonl").write_text("mine")
    with pytest.raises(UsageError, match="holds results without a config.json.*--restart"):
        toys.run(search_job, tiny(), tmp_path)
    (tmp_path / "config.json").write_text("mine too")
    with pytest.raises(UsageError, match="its config.json cannot be read"):
        toys.run(search_job, tiny(), tmp_path)
    assert (tmp_path / "pool.jsonl").read_text() == "mine"


def test_restart_sets_aside(tmp_path):
    folder = tmp_path / "work"
    for number in range(3):
        with workdir.claimed(folder, {"seed": number}, restart=True):
            workdir.write_json(folder / "config.json", {"seed": number})
    for number, name in enumerate(("work.1", "work.2", "work")):
        assert json.loads((tmp_path / name / "config.json").read_text()) == {"seed": number}


@pytest.mark.parametrize(
    "argument, message",
    [
        (
            "--config.search.round=3",
            "config.search.round: the config has no such field; did you mean 'rounds'",
        ),
        ("--config.search.rounds=many", "config.search.rounds=many"),
        ("--config=configs/absent.py", "there is no file configs/absent.py"),
        ("--config=configs/cifar.py:large", "'large'"),
        ("--workdir=/proc/forbidden", "--workdir=/proc/forbidden cannot be written"),
        ("--rounds=3", "rounds"),
        ("rounds", "unexpected argument 'rounds'"),
        ("--config.data.name=arrays", "arrays"),
        ("--config.data.path=setup.py --config.data.name=arrays", "setup.py"),
        ("--config.data.name=cifar10 --config.data.data_dir=/proc/absent", "cannot be written"),
        ("--config.search.max_params=10", "within the limit"),
        ("--config.supernet.batch_size=5000", "exceeds the 100 train images"),
    ],
)
def test_bad_input_is_one_line(argument, message, tmp_path):
    folder = tmp_path / "work"
    first = "--config=configs/quickstart.py", f"--workdir={folder}"
    status, _, error = play_command("search", *first, *argument.split())
    assert status == 2 and message in error
    assert not folder.exists()


@pytest.mark.parametrize(
    "field, value",
    [
        *[("search.rounds", 0), ("search.initial", 0), ("network.channels", 5), ("devices", 99)],
        *[("supernet.sampler", "best"), ("supernet.clip", -1.0), ("nao.held_out", 1.0)],
        *[("supernet.drop_path_keep", 0.0), ("space.operations", "large"), ("seed", -1)],
        *[("search.max_macs", 0), ("space.nodes", 0), ("network.cells", 0)],
    ],
)
def test_settings_that_cannot_be(field, value):
    config = cells()
    section, _, name = field.rpartition(".")
    with config.unlocked():
        (config[section] if section else config)[name] = value
    with pytest.raises(UsageError, match=name):
        plan(config)


def test_settings_that_do_not_fit_together():
    config = quickstart.get_config()
    config.devices, config.supernet.batch_size = 3, 64
    with pytest.raises(UsageError, match="supernet.batch_size=64 is not divisible by 3"):
        plan(config)
    config = cells(nodes=1)
    config.search.initial = 3_000
    with pytest.raises(UsageError, match="ask for 3120 different.*holds 3025"):
        plan(config)
    config = quickstart.get_config()
    config.supernet.batch_norm, config.supernet.path_per_device = "sync", True
    with pytest.raises(UsageError, match="same path on every device"):
        plan(config)


def test_shipped_configs_are_sound():
    for module in (cifar, nao_ws, random_search, bonas):
        plan(module.get_config())
        plan(module.get_config("smoke"))
    plan(quickstart.get_config())
    assert nao_ws.get_config().supernet.sampler == "uniform"
    assert random_search.get_config().search.strategy == "random"


def test_help_explains():
    status, out, _ = play_command("search", "--help")
    assert status == 0 and "--config=FILE" in out and "configs/quickstart.py" in out
    status, _, error = play_command("search")
    assert status == 2 and "--config=configs/quickstart.py" in error


def test_inspect_prints_costs():
    size = ("--config.network.channels=36", "--config.network.cells=6")
    _, out, _ = play_command(
        *("inspect", "--config=configs/cifar.py", *size, "--archs=-"),
        stdin=f"# best\n{NAONET_V2}\n\n{NAONET_V2}\n".encode(),
    )
    rows = [json.loads(line) for line in out.splitlines()]
    outline = Outline(36, 6, 10)
    macs = int(cost(outline, outline.decisions.parse(NAONET_V2)[None]).macs[0])
    assert rows == [{"arch": NAONET_V2, "params": 4_387_654, "macs": macs}] * 2


@pytest.mark.parametrize(
    "content, message",
    [
        (f"{NAONET_V2}\n{NAONET_V2.replace('4', '9', 1)}\n".encode(), "line 2: .*position 6.*9 is"),
        (b"1 2 3\n", "line 1: .*40 integers, not 3"),
        (b"\xff\xfe\x00\x01", "is not a text file"),
        (None, "cannot be read: No such file"),
    ],
)
def test_inspect_refuses(content, message, tmp_path):
    path = tmp_path / "archs.txt"
    if content is not None:
        path.write_bytes(content)
    status, _, error = play_command("inspect", "--config=configs/cifar.py", f"--archs={path}")
    assert status == 2 and re.search(message, error), error

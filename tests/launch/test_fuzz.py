"""No input gives a traceback or starts work: command lines and architectures.

BNAO_FUZZ_EXAMPLES=20000 tries so many inputs of each kind.
"""

import contextlib
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from command_lines import play, play_command
from config_fields import (
    DEFAULTS,
    DIGITS,
    LITERALS,
    NUMBERS,
    TEXT,
    choices,
    every_field,
    fuzz,
    is_one_line,
    is_sound,
    leaves,
    values_of,
)
from conftest import ROOT
from hypothesis import assume, example, given
from hypothesis import strategies as st
from ml_collections import ConfigDict

from bnao_jax.decisions import ArchitectureError
from bnao_jax.spaces.nao.outline import nao_decisions
from bnao_jax.spaces.nasbench201.outline import nasbench201_decisions
from bnao_jax.spaces.shufflenet.outline import Outline
from configs import (
    cifar_train,
    compare_quickstart,
    quickstart,
    rank_nasbench201,
    rank_study,
    tabular,
)
from launch import command
from launch.command import UsageError
from launch.compare import table as compare_job
from launch.config.plan import plan, read
from launch.inputs import architectures
from launch.inspect import __main__ as inspect_main
from launch.rank import job as rank_job
from launch.rank import study
from launch.search import __main__ as search_main
from launch.search import job as search_job

CONFIG = "--config=configs/quickstart.py"
SECTIONS = sorted({name.split(".")[0] for name in DEFAULTS if "." in name})


def search_up_to_work(*words):
    """(plan or None, error): what launch.search does before it loads data."""
    checked = []

    def run(job, folder, *, restart):
        checked.append(job)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_job, "run", run)
        status, out, error = play(search_main.main, *words)
    assert bool(checked) == (not status and not out)  # else it was bad, or asked for help
    return checked[0] if checked else None, error


NASTY = (
    *(
        "",
        " ",
        "nan",
        "-nan",
        "inf",
        "-inf",
        "1e400",
        "-1e400",
        "1e38",
        "1e-320",
        "-0.0",
        "0",
        "-1",
    ),
    *("0x10", "0x" + "f" * 5_000, "9" * 5_000, "1" + "0" * 400, "1_000", "١", "²", "1e3", "0.5"),
    *("None", "none", "True", "true", "yes", "[]", "{}", "()", "(" * 500, "[" * 100_000, "a\\d"),
    *("{'a': 1}", "{1: 2}", "{None: {}}", "{'name': 'nao'}", '{"\\d": 1}', "{'a.b': {'c': []}}"),
    *("\n", "a\nb", "\x1b[2J", "\u2028", "~nobody/x", "/dev/null", "/proc", "..", "é", "{x}", "%s"),
    *("--seed", "-h", "--", "=", "==", "lambda: 0", "__import__('os').abort()"),
)
CHOSEN = st.sampled_from(sorted({word for field in every_field() for word in choices(field)}))
VALUES = st.sampled_from(NASTY) | NUMBERS.map(str) | CHOSEN | TEXT | LITERALS.map(repr)
NAMES = st.sampled_from([*DEFAULTS, *SECTIONS])
STRANGE_NAMES = st.one_of(
    TEXT,
    st.builds("{}.{}".format, NAMES, TEXT),
    st.builds("{}{}".format, NAMES, TEXT),
    st.sampled_from(
        [
            *("search.round", "data.items", "seed.real", "_fields", "__class__", "lock", "data[0]"),
            *("search.initial[0]", "get_type.__globals__", "data.items.__self__.pad", "data..pad"),
        ]
    ),
)
ASSIGNMENTS = st.one_of(
    st.builds("--config.{}={}".format, NAMES, VALUES).map(lambda word: [word]),
    st.builds(lambda name, value: [f"--config.{name}", value], NAMES, VALUES),
    st.builds("-config.{}={}".format, STRANGE_NAMES, VALUES).map(lambda word: [word]),
    NAMES.map(lambda name: [f"--noconfig.{name}"]),
)
OTHERS = st.one_of(
    VALUES,
    st.builds("--{}".format, VALUES),
    st.builds("--{}={}".format, TEXT, VALUES),
    st.builds("--restart={}".format, VALUES),
    st.builds("--config={}".format, VALUES),
    st.builds("--config=configs/cifar.py:{}".format, VALUES),
    st.builds("--flagfile={}".format, TEXT),
    st.sampled_from(["--config", "--config=configs", "--config=setup.cfg", "--config=LICENSE"]),
    st.sampled_from(["--config=configs/__init__.py", "--undefok=x", "--workdir", "--flagfile"]),
).map(lambda word: [word])


@fuzz(300)
@given(NAMES, VALUES)
def test_one_field_of_any_value(name, value):
    job, error = search_up_to_work(CONFIG, f"--config.{name}={value}")
    if job:
        assert is_sound(job)
    else:
        section = f"config.{name.split('.')[0]}"
        named = name.split(".")[-1] in error or section in error or "is not UTF-8" in error
        assert named or (value and repr(value) in error)  # another field that does not go with it


@fuzz(200)
@given(st.data())
def test_one_field_of_its_kind(data):
    name = data.draw(st.sampled_from(sorted(DEFAULTS)))
    kinds = {bool: st.booleans(), float: st.floats(), str: CHOSEN | TEXT}
    kind = kinds.get(type(DEFAULTS[name]), NUMBERS.filter(lambda number: isinstance(number, int)))
    test_one_field_of_any_value.hypothesis.inner_test(name, str(data.draw(kind)))


@fuzz(300)
@given(st.lists(ASSIGNMENTS | OTHERS, max_size=4), st.sampled_from([[CONFIG], []]))
def test_any_command_line(words, first):
    job, _ = search_up_to_work(*first, *sum(words, []))
    assert job is None or is_sound(job)


@fuzz(200)
@given(st.dictionaries(NAMES, LITERALS, max_size=3), st.lists(NAMES, max_size=2))
@example({"job": {0: 0, "": None}}, [])
@example({"search": {0: 0, "": None}}, [])
@example({"seed": {0: 0, "": None}}, [])
def test_any_config_that_a_file_may_give(changes, absent):
    config = quickstart.get_config().to_dict()
    for name, value in changes.items():
        *section, key = name.split(".")
        inside = config
        for part in section:
            inside = inside[part] if isinstance(inside.get(part), dict) else {}
        inside[key] = value
    for name in absent:
        config.pop(name, None)
    try:
        config = ConfigDict(config)
    except Exception:
        assume(False)  # it is not this library that refuses it
    with contextlib.suppress(UsageError):
        values = values_of(plan(config, "search"))
        assert all(np.isfinite(v) for v in values.values() if isinstance(v, float))


@pytest.mark.parametrize(
    "name, value",
    [
        *[("seed", 10**20), ("seed", 2**32), ("supernet.epochs", 10**12), ("nao.epochs", 2**31)],
        *[("supernet.learning_rate", float("nan")), ("final.weight_decay", float("inf"))],
        *[("supernet.clip", 1e39), ("nao.learning_rate", float("inf")), ("nao.batch_size", 10**9)],
        *[("search.initial", 10**12), ("search.rounds", 10**12), ("nao.exchanges", 10**9)],
        *[("network.channels", 10**9), ("network.channels", 2**14), ("space.nodes", 10**6)],
        *[("scoring.images", 10**12), ("scoring.per_dispatch", 10**12), ("nao.parents", 10**12)],
        *[("supernet.batch_size", 2**30), ("final.batch_size", 2**30), ("data.pad", 10**9)],
        *[("data.cutout", 10**6), ("data.valid_examples", 2**31 - 1), ("nao.held_out", 0.999)],
        *[("network.stem", "none"), ("space.operations", "none"), ("network.cells", 10**6)],
    ],
)
def test_what_would_fail_later_is_named(name, value, monkeypatch):
    monkeypatch.setattr("bnao_jax.parallel.memory", lambda device: 16e9)
    job, error = search_up_to_work(CONFIG, "--config.final.top=1", f"--config.{name}={value}")
    assert job is None
    assert f"config.{name}" in error or f"config.{name.split('.')[0]} with" in error


def test_epochs_that_leave_the_range_of_steps():
    config = quickstart.get_config()
    config.supernet.epochs, config.supernet.batch_size = 2**30, 8
    job = plan(config)
    with pytest.raises(UsageError, match="config.supernet.epochs=1073741824 makes 12884901888"):
        job.check_images(DIGITS)


# Architectures.

SPACE = nao_decisions()
SPACES = {
    "nao": SPACE,
    "nasbench201": nasbench201_decisions(),
    "shufflenet": Outline(channel_choice=True).decisions,
}


@st.composite
def damaged_rows(draw, space=SPACE, separators=" \t\u3000,|+~"):
    row = [draw(st.integers(0, options - 1)) for options in space.options]
    words = re.split(f"([{separators}])", space.format(np.array(row, np.int32)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(words) - 1))
        word = draw(NUMBERS.map(str) | st.sampled_from(["", "٣", "²", "+1", "1_0", "#"]) | TEXT)
        words[at : at + draw(st.integers(0, 2))] = [word]
    text = "".join(words)
    return text.replace(" ", draw(st.sampled_from([" ", "  ", "\t", "\u3000", ","])))


LINES = st.text() | damaged_rows()


@pytest.mark.parametrize("name", SPACES)
@fuzz(150)
@given(data=st.data())
def test_any_text_as_architecture(name, data):
    space = SPACES[name]
    text = data.draw(damaged_rows(space) | st.text())
    try:
        row = space.parse(text)
    except ArchitectureError as error:
        assert is_one_line(error)
    else:
        assert row.dtype == np.int32 and row.shape == (space.length,)
        np.testing.assert_array_equal(space.parse(space.format(row)), row)


@fuzz(100)
@given(st.lists(LINES, max_size=4))
def test_any_lines_as_architectures(lines):
    try:
        pool = SPACE.parse_lines(lines)
    except ArchitectureError as error:
        assert is_one_line(error) and str(error).startswith("line ")
    else:
        np.testing.assert_array_equal(SPACE.check(pool), pool)


@fuzz(100)
@given(
    content=st.binary()
    | st.lists(LINES).map(lambda lines: "\n".join(lines).encode("utf-8", "replace"))
)
def test_any_file_of_architectures(content, tmp_path_factory):
    assume(b"Traceback" not in content)  # see TEXT
    path = tmp_path_factory.getbasetemp() / "fuzzed.txt"
    path.write_bytes(content)
    words = ("--config=configs/cifar.py", "--config.data.name=digits", f"--archs={path}")
    _, out, _ = play(inspect_main.main, *words)
    for line in out.splitlines():
        row = json.loads(line)
        assert row["params"] > 0 and row["macs"] > 0 and SPACE.parse(row["arch"]).shape == (40,)


# The other launchers.

JOBS = {
    **{"rank": rank_nasbench201, "study": rank_study, "train": cifar_train},
    **{"comparison": tabular, "systems": compare_quickstart},
}
CHECKS = {"rank": rank_job.check, "study": study.check, "comparison": compare_job.check}


OF_ONE = ["systems.spos.supernet.epochs", "systems.bonas.search.strategy", "systems.nao_ws"]


@pytest.mark.parametrize("name", JOBS)
@fuzz(100)
@given(data=st.data())
def test_any_command_line_of_the_other_jobs(name, data):
    module = JOBS[name]
    fields = [name for name, _ in leaves(module.get_config())] + OF_ONE * (name == "systems")
    field = st.sampled_from(sorted(fields))
    one = st.builds("--config.{}={}".format, field, VALUES)
    words = data.draw(st.lists(one, max_size=3))
    text = data.draw(st.just("naonet_v2") | VALUES | damaged_rows())

    def main():  # what the launchers do, whose flags exclude each other in one program
        config = command.required(command.CONFIG, "configs/cifar.py")
        if name == "train":
            config.arch = architectures.named(read(config, "train"), text)
        job = plan(config, name)
        if name in CHECKS:
            CHECKS[name](job)

    play(main, f"--config=configs/{module.__name__.split('.')[1]}.py", *words)


# The real launchers.


@pytest.mark.parametrize(
    "module, words, named",
    [
        ("search", ["--config.supernet.learning_rate=nan"], "config.supernet.learning_rate"),
        ("search", ["--flagfile=/absent"], "/absent"),
        ("inspect", ["--config.space.nodes=1000000", "--archs=-"], "config.space.nodes"),
    ],
)
def test_the_launchers_end_in_one_line(module, words, named):
    status, _, error = play_command(module, CONFIG, *words)
    assert status == 2 and named in error


def test_a_started_program_ends_as_a_played_one():
    command = [sys.executable, "-m", "launch.search", CONFIG, b"--workdir=\xff"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    played = play_command("search", CONFIG, "--workdir=\udcff")
    assert (done.returncode, done.stdout, done.stderr) == played
    assert "not UTF-8" in done.stderr and played[0] == 2

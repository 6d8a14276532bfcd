"""No input gives a traceback or starts work: command lines, architectures, archives of images.

BNAO_FUZZ_EXAMPLES=20000 tries so many inputs of each kind.
"""

import ast
import contextlib
import functools
import io
import json
import os
import pickle
import re
import subprocess
import sys
import warnings
import zipfile
from typing import get_args

import jax
import numpy as np
import pytest
from command_lines import play, play_command
from conftest import ROOT
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from ml_collections import ConfigDict

from bnao_jax.data import DataError, load
from bnao_jax.decisions import ArchitectureError
from bnao_jax.spaces.nao.outline import nao_decisions
from bnao_jax.spaces.nao.supernet import Supernet
from bnao_jax.spaces.nasbench201.outline import nasbench201_decisions
from bnao_jax.spaces.shufflenet.outline import Outline
from configs import (
    cifar,
    cifar_train,
    imagenet_train,
    quickstart,
    rank_nasbench201,
    rank_study,
    tabular,
)
from launch import command
from launch.command import UsageError
from launch.compare import job as compare_job
from launch.config import schema
from launch.config.plan import plan, read
from launch.inputs import architectures
from launch.inspect import __main__ as inspect_main
from launch.rank import job as rank_job
from launch.rank import study
from launch.search import __main__ as search_main
from launch.search import job as search_job

EXAMPLES = int(os.environ.get("BNAO_FUZZ_EXAMPLES", "0"))
CONFIG = "--config=configs/quickstart.py"


def fuzz(examples):
    return settings(
        max_examples=EXAMPLES or examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def leaves(config, prefix=""):
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


DEFAULTS = dict(leaves(cifar.get_config()))
SECTIONS = sorted({name.split(".")[0] for name in DEFAULTS if "." in name})


STREAMED = schema.JOBS["train"].sections | schema.STREAMED
FIELDS = {  # of a config, and of what it should have
    "search": (cifar.get_config(), schema.fields_of("search")),
    "rank": (rank_nasbench201.get_config(), schema.fields_of("rank")),
    "study": (rank_study.get_config(), schema.fields_of("study")),
    "train": (cifar_train.get_config(), schema.fields_of("train")),
    "streamed": (imagenet_train.get_config("smoke"), schema.fields_of("train", STREAMED)),
    "comparison": (tabular.get_config(), schema.fields_of("comparison")),
}


def every_field():
    """The dataclass fields of all jobs."""
    return [field for _, fields in FIELDS.values() for field in fields.values()]


def choices(field):
    """The words that may stand in a field, if it is one of some."""
    words = field.metadata["rule"].words
    return ast.literal_eval(words.removeprefix("one of ")) if words.startswith("one of ") else ()


def ends(field):
    """The least and the most whole number that may stand in a field; nothing of other fields."""
    match = re.search(r"a whole number from (\d+) to (\d+)", field.metadata["rule"].words)
    return tuple(map(int, match.groups())) if match else ()


def put(config, name, value):
    """Puts any value into a field of a config, whatever the type of the one before."""
    take(config, name)
    section, _, key = name.rpartition(".")
    with config.unlocked():
        (config[section] if section else config)[key] = value


def take(config, name):
    """Takes a field from a config."""
    section, _, key = name.rpartition(".")
    with config.unlocked():
        del (config[section] if section else config)[key]


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


def values_of(job):
    """The settings of a plan by the names of their fields."""
    streamed = STREAMED if getattr(job.settings.data, "streamed", False) else None
    names = schema.fields_of(job.settings.job, streamed)
    return {name: functools.reduce(getattr, name.split("."), job.settings) for name in names}


def is_sound(job):
    """What a search will do with the numbers."""
    fields, values = schema.fields_of("search"), values_of(job)
    assert values.keys() == DEFAULTS.keys()
    for name, value in values.items():
        kinds = get_args(fields[name].type) or (fields[name].type,)
        assert type(value) in kinds and fields[name].metadata["rule"].holds(value), name
        if isinstance(value, float):
            with np.errstate(over="raise"):
                assert np.isfinite(np.float32(value)), name
        if kinds == (int,) and name != "seed":
            np.int32(value)
    np.random.RandomState(job.settings.seed)
    jax.random.key(job.settings.seed)
    search = job.settings.search
    assert search.population_size <= 100_000
    with contextlib.suppress(UsageError):
        job.check_images(DIGITS)
        examples = job.settings.data.trained_on(DIGITS)
        for part in (job.settings.supernet, job.settings.final):
            np.int32(part.epochs * (examples // part.batch_size))
    return True


DIGITS = load("digits")

# No command line carries a NUL; bytes that are not UTF-8 arrive as U+DC80 to U+DCFF.
LETTERS = st.characters(codec="utf-8", exclude_characters="\0") | st.characters(
    min_codepoint=0xDC80, max_codepoint=0xDCFF
)
# Hypothesis takes words from this project; `play` takes this one for what must not be there.
TEXT = st.text(LETTERS, max_size=30).filter(lambda text: "Traceback" not in text)
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
NUMBERS = st.one_of(
    st.sampled_from([0, 1, 2, 100_000, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63, 10**12]),
    st.integers(),
    st.integers(0, 200),
    st.floats(),
    st.floats(0, 1),
)
LITERALS = st.recursive(
    NUMBERS | TEXT | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NUMBERS | TEXT, inner, max_size=3),
    max_leaves=5,
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
        assert name.split(".")[-1] in error or section in error or "is not UTF-8" in error


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
    monkeypatch.setattr("launch.config.plan.memory", lambda device: 16e9)
    job, error = search_up_to_work(CONFIG, "--config.final.top=1", f"--config.{name}={value}")
    assert job is None
    assert f"config.{name}" in error or f"config.{name.split('.')[0]} with" in error


def test_epochs_that_leave_the_range_of_steps():
    config = quickstart.get_config()
    config.supernet.epochs = 2**30
    job = plan(config)
    with pytest.raises(UsageError, match="config.supernet.epochs=1073741824 makes 19327352832"):
        job.check_images(DIGITS)


def test_classes_that_no_machine_holds(place, monkeypatch):
    monkeypatch.setattr("launch.config.plan.memory", lambda device: 16e9)
    path, _ = place
    path.write_bytes(archive(images=VALID["images"], labels=np.arange(20) * 10**8))
    config = quickstart.get_config()
    config.data.name, config.data.valid_examples = "arrays", 1
    with pytest.raises(UsageError, match="classes of config.data needs at least .* GB"):
        plan(config).check_images(load("arrays", path=path))


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_has_a_rule(name):
    config, fields = FIELDS[name]
    assert {field for field, _ in leaves(config)} == fields.keys()
    values = values_of(read(config))
    for field, value in fields.items():
        rule = value.metadata["rule"]
        assert value.metadata["meaning"] and rule.words, field
        assert rule.holds(value.default) and rule.holds(values[field]), field
        assert all(map(rule.holds, choices(value))), field


@pytest.mark.parametrize("name", FIELDS)
def test_what_no_rule_allows_is_one_line(name):
    for field, rule in ((name, f.metadata["rule"]) for name, f in FIELDS[name][1].items()):
        for value in (1j, float("nan"), -1, (), 10**400, [], object()):
            if rule.holds(value):  # text of a number of times
                continue
            config = FIELDS[name][0].copy_and_resolve_references()
            put(config, field, value)
            with pytest.raises(UsageError) as refused:
                plan(config)
            error = str(refused.value)
            assert is_one_line(error) and error.startswith(f"config.{field}="), error
            assert rule.words in error


def test_configs_go_with_their_jobs():
    for name, (config, fields) in FIELDS.items():
        job = "train" if name == "streamed" else name
        assert schema.job_of(config) == job
        for other in schema.JOBS.keys() - {job}:
            launchers = schema.JOBS[job].launcher, schema.JOBS[other].launcher
            message = "config.job='{}': the config is one for {}, not for {}$"
            with pytest.raises(UsageError, match=message.format(job, *launchers)):
                read(config, other)
        for field in fields.keys() - {"data.image_size"}:  # which tells images that are streamed
            less = config.copy_and_resolve_references()
            take(less, field)
            with pytest.raises(UsageError, match=f"^config.{field} is missing"):
                read(less)
        more = config.copy_and_resolve_references()
        with more.unlocked():
            more.space.node = 3
        with pytest.raises(UsageError, match="^config.space.node: there is no such field$"):
            read(more)


@pytest.mark.parametrize(
    "name", sorted(n for n, field in FIELDS["search"][1].items() if ends(field))
)
def test_the_ends_of_a_range(name):
    field = FIELDS["search"][1][name]
    least, most = ends(field)
    holds = field.metadata["rule"].holds
    assert holds(least) and holds(most) and not holds(least - 1) and not holds(most + 1)
    for end in (least, most):
        config = quickstart.get_config()
        put(config, name, end)
        with contextlib.suppress(UsageError):
            assert is_sound(plan(config))


def test_least_memory_is_no_more_than_the_weights():
    config = quickstart.get_config()
    config.space.nodes, config.network.channels = 2, 64
    space = plan(config).space()
    architecture = np.zeros(space.decisions.length, np.int32)
    make = lambda key: Supernet(space).init(key, np.zeros((1, 32, 32, 3)), architecture)["params"]
    weights = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(make, jax.random.key(0))))
    assert 0.8 * weights < space.least_weights() < weights
    needs = plan(config)._needs(space, (32, 32, 3))
    assert 12 * space.least_weights() in needs.values()  # with gradients and momentum, float32


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


def is_one_line(error):
    text = str(error)
    return text and len(text.splitlines()) == 1 and len(text) < 1_000


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

JOBS = {"rank": rank_nasbench201, "study": rank_study, "comparison": tabular, "train": cifar_train}
CHECKS = {"rank": rank_job.check, "study": study.check, "comparison": compare_job.check}


@pytest.mark.parametrize("name", JOBS)
@fuzz(100)
@given(data=st.data())
def test_any_command_line_of_the_other_jobs(name, data):
    module = JOBS[name]
    field = st.sampled_from(sorted(name for name, _ in leaves(module.get_config())))
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


# Archives.


class Payload:
    """What a stranger's pickle may do: anything, here make a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def archive(compressed=False, **arrays):
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of names only new NumPy reads
        (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def npy(header, content=b""):
    text = header.encode("latin1", "replace")
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


RNG = np.random.default_rng(0)
VALID = dict(
    images=RNG.integers(0, 256, (20, 4, 4, 1), np.uint8),
    labels=np.arange(20) % 3,
    ids=np.arange(20),
    test_images=RNG.integers(0, 256, (4, 4, 4, 1), np.uint8),
    test_labels=np.arange(4) % 3,
    classes=3,
)
KEYS = st.sampled_from(sorted(VALID))
ANY_ARRAY = arrays_of.arrays(
    arrays_of.scalar_dtypes() | arrays_of.array_dtypes() | arrays_of.unicode_string_dtypes(),
    arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)
HEADERS = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=80),
    st.builds(
        "{{'descr': {}, 'fortran_order': {}, 'shape': {}, }}\n".format,
        st.sampled_from(["'|u1'", "'|O'", "'<i8'", "'V'", "[('a', '|O')]", "[]", "5", "'|u1"])
        | LITERALS.map(repr),
        st.sampled_from(["False", "True", "0", "None"]),
        st.lists(NUMBERS, max_size=4).map(tuple).map(repr) | LITERALS.map(repr),
    ),
)


@st.composite
def damaged(draw, content):
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content) - 1))
        content[at : at + draw(st.integers(0, 2))] = draw(st.binary(max_size=2))
    return bytes(content[: draw(st.just(len(content)) | st.integers(0, len(content)))])


def check_archive(path, content):
    """Loads an archive of any content; returns whether it was taken."""
    path.write_bytes(content)
    try:
        images = load("arrays", path=path)
    except DataError as error:
        assert is_one_line(error) and str(path) in str(error)
        return False
    assert images.train_images.dtype == np.uint8 and images.train_labels.dtype == np.int32
    assert images.train_labels.min() >= 0 and images.train_labels.max() < images.classes
    config = quickstart.get_config()
    config.data.name = "arrays"
    with contextlib.suppress(UsageError):
        plan(config).check_images(images)
    return True


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Where an archive is put, and the file that a pickle in it would make."""
    folder = tmp_path_factory.mktemp("archives")
    yield folder / "any.npz", folder / "made"
    assert not (folder / "made").exists()


def test_the_whole_archive_is_taken(place):
    assert check_archive(place[0], archive(**VALID))
    assert check_archive(place[0], archive(compressed=True, **VALID))


@fuzz(200)
@given(data=st.data(), compressed=st.booleans())
def test_any_damage_to_an_archive(place, data, compressed):
    check_archive(place[0], data.draw(damaged(archive(compressed, **VALID))))


@fuzz(100)
@given(st.dictionaries(KEYS, ANY_ARRAY, max_size=3), st.lists(KEYS, max_size=2))
def test_any_arrays_in_an_archive(place, changes, absent):
    arrays = {key: value for key, value in (VALID | changes).items() if key not in absent}
    check_archive(place[0], archive(**arrays))


@fuzz(200)
@given(
    st.dictionaries(KEYS | st.text(min_size=1, max_size=5), HEADERS | st.binary(), max_size=3),
    st.sampled_from([".npy", ""]),
    st.binary(max_size=100),
)
def test_any_header_in_an_archive(place, members, suffix, content):
    assume(not any("\0" in name for name in members))
    content_of = {
        name + suffix: npy(member, content) if isinstance(member, str) else member
        for name, member in members.items()
    }
    check_archive(place[0], zipped(content_of))


def pickles(target):
    payload = np.array([Payload(target)], object)
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    raw = pickle.dumps(payload)
    yield archive(**(VALID | {"images": payload}))
    yield archive(**(VALID | {"other": payload}))
    yield zipped({"images.npy": npy(header, raw)})
    yield zipped({"images": raw})
    yield raw
    single = io.BytesIO()
    np.save(single, payload, allow_pickle=True)
    yield single.getvalue()


def test_a_pickle_is_refused_and_not_run(place):
    path, target = place
    for content in pickles(target):
        assert not check_archive(path, content)
        assert not target.exists()
    with np.load(io.BytesIO(next(pickles(target))), allow_pickle=True) as file:
        file["images"].item().close()  # it is a payload
    target.unlink()


@fuzz(100)
@given(data=st.data(), number=st.integers(0, 5))
def test_a_damaged_pickle_is_not_run(place, data, number):
    path, target = place
    check_archive(path, data.draw(damaged(list(pickles(target))[number])))
    assert not target.exists()


# The source.

LOADERS_OF_CODE = {
    *("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"),
    *("torch", "pandas"),  # whose loaders unpickle
}


def imported(node):
    if isinstance(node, ast.Import):
        return {name.name.split(".")[0] for name in node.names}
    return {(node.module or "").split(".")[0]} if isinstance(node, ast.ImportFrom) else set()


def runs_code(node):
    """Whether a node of the syntax tree turns data into code."""
    if imported(node) & LOADERS_OF_CODE:
        return True
    if not isinstance(node, ast.Call):
        return False
    name = getattr(node.func, "id", getattr(node.func, "attr", ""))
    if name in ("eval", "exec", "__import__"):
        return True
    allowed = [word.value for word in node.keywords if word.arg == "allow_pickle"]
    return any(not isinstance(v, ast.Constant) or v.value is not False for v in allowed)


@pytest.mark.parametrize("folder", ["bnao_jax", "launch", "configs"])
def test_no_module_runs_what_it_reads(folder):
    for file in (ROOT / folder).rglob("*.py"):
        nodes = [node for node in ast.walk(ast.parse(file.read_text())) if runs_code(node)]
        assert not nodes, f"{file}:{nodes[0].lineno}"


@pytest.mark.parametrize(
    "source",
    [
        *("import pickle", "from pickle import loads", "import os, marshal", "eval('1')"),
        *("np.load(f, allow_pickle=True)", "np.load(f, allow_pickle=flag)", "__import__('os')"),
    ],
)
def test_the_search_for_such_modules_finds_them(source):
    assert any(runs_code(node) for node in ast.walk(ast.parse(source)))


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

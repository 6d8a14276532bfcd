"""No input gives a traceback or starts work: command lines, architectures, archives of images.

BNAO_FUZZ_EXAMPLES=20000 tries so many inputs of each kind.
"""

import ast
import contextlib
import io
import json
import os
import pickle
import re
import subprocess
import sys
import warnings
import zipfile

import jax
import numpy as np
import pytest
from absl.testing import flagsaver
from conftest import ROOT
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from ml_collections import ConfigDict

from bnao_jax.data import DataError, load
from bnao_jax.space import ArchitectureError
from bnao_jax.spaces.nao.space import nao_space
from bnao_jax.spaces.nao.supernet import Supernet
from bnao_jax.spaces.nasbench201.space import nasbench201_space
from bnao_jax.spaces.shufflenet.space import Outline
from configs import (
    cifar,
    cifar_train,
    imagenet_train,
    quickstart,
    rank_nasbench201,
    rank_study,
    tabular,
)
from launch import (
    architectures,
    command,
    comparing,
    fields,
    inspect,
    ranking,
    search,
    searching,
    studying,
    training,
    wiring,
)
from launch.command import UsageError

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


def play(main, *words):
    """(exit status, standard output, one-line error) of a command line; an exception is a bug."""
    out, errors = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, flagsaver.flagsaver():
        patch.setattr(sys, "argv", ["launcher", *words])
        patch.setattr(sys, "path", sys.path[:])
        patch.chdir(ROOT)
        # ml_collections loads a config by what Python calls deprecated.
        with warnings.catch_warnings(), pytest.raises(SystemExit) as stop:
            warnings.filterwarnings("ignore", "the load_module", DeprecationWarning)
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
                command.run(main, "the usage")
    status, error = stop.value.code or 0, errors.getvalue()
    if status:
        assert status == 2 and out.getvalue() == ""
        assert error.startswith("error: ") and error.endswith("\n") and len(error) < 2_100
        assert len(error.splitlines()) == 1 and "Traceback" not in error
    else:
        assert error == ""
    return status, out.getvalue(), error


def search_up_to_work(*words):
    """(config or None, error): what launch.search does before it loads data."""
    checked = []

    def run(config, folder, *, restart):
        wiring.check(config)
        checked.append(config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "run", run)
        status, out, error = play(search.main, *words)
    assert bool(checked) == (not status and not out)  # else it was bad, or asked for help
    return checked[0] if checked else None, error


SECONDS = ("search.max_latency",)  # or None
LARGE = (*fields.LIMITS, *fields.INTERVALS)  # whole numbers beyond int32, or None


def is_sound(config):
    """What a search will do with the numbers, and the form of the file that defines them."""
    found = dict(leaves(config))
    assert found.keys() == DEFAULTS.keys()
    for name, value in found.items():
        kind = int if name in LARGE else float if name in SECONDS else type(DEFAULTS[name])
        assert type(value) is kind or value is None is DEFAULTS[name], name
        if kind is float and value is not None:
            with np.errstate(over="raise"):
                assert np.isfinite(np.float32(value)), name
        if kind is int and value is not None and name != "seed" and name not in LARGE:
            np.int32(value)
    np.random.RandomState(config.seed)
    jax.random.key(config.seed)
    assert wiring.population_size(config) + config.search.control <= 100_000
    with contextlib.suppress(UsageError):
        wiring.check_data(config, DIGITS)
        examples = wiring.train_examples(config, DIGITS)
        for part in (config.supernet, config.final):
            np.int32(part.epochs * (examples // part.batch_size))
    return True


DIGITS = load("digits")

# No command line carries a NUL; bytes that are not UTF-8 arrive as U+DC80 to U+DCFF.
LETTERS = st.characters(codec="utf-8", exclude_characters="\0") | st.characters(
    min_codepoint=0xDC80, max_codepoint=0xDCFF
)
TEXT = st.text(LETTERS, max_size=30)
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
CHOSEN = st.sampled_from(sorted({word for words in fields.CHOICES.values() for word in words}))
VALUES = st.sampled_from(NASTY) | NUMBERS.map(str) | CHOSEN | TEXT | LITERALS.map(repr)
NAMES = st.sampled_from([*DEFAULTS, *SECTIONS])
STRANGE_NAMES = st.one_of(
    TEXT,
    st.builds("{}.{}".format, NAMES, TEXT),
    st.builds("{}{}".format, NAMES, TEXT),
    st.sampled_from(
        [
            *("search.round", "data.items", "seed.real", "_fields", "__class__", "lock", "data[0]"),
            *("search.seeds[0]", "get_type.__globals__", "data.items.__self__.pad", "data..pad"),
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
    config, error = search_up_to_work(CONFIG, f"--config.{name}={value}")
    if config:
        assert is_sound(config)
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
    config, _ = search_up_to_work(*first, *sum(words, []))
    assert config is None or is_sound(config)


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
        wiring.check(config)
        found = dict(leaves(config))
        assert all(np.isfinite(v) for v in found.values() if isinstance(v, float))


@pytest.mark.parametrize(
    "name, value",
    [
        *[("seed", 10**20), ("seed", 2**32), ("supernet.epochs", 10**12), ("nao.epochs", 2**31)],
        *[("supernet.learning_rate", float("nan")), ("final.weight_decay", float("inf"))],
        *[("supernet.clip", 1e39), ("nao.learning_rate", float("inf")), ("nao.batch_size", 10**9)],
        *[("search.seeds", 10**12), ("search.rounds", 10**12), ("nao.exchanges", 10**9)],
        *[("network.channels", 10**9), ("network.channels", 2**14), ("space.nodes", 10**6)],
        *[("scoring.images", 10**12), ("scoring.per_dispatch", 10**12), ("nao.seeds", 10**12)],
        *[("supernet.batch_size", 2**30), ("final.batch_size", 2**30), ("data.pad", 10**9)],
        *[("data.cutout", 10**6), ("data.valid_examples", 2**31 - 1), ("nao.held_out", 0.999)],
        *[("network.stem", "none"), ("space.operations", "none"), ("network.cells", 10**6)],
    ],
)
def test_what_would_fail_later_is_named(name, value, monkeypatch):
    monkeypatch.setattr(wiring, "_memory", lambda device: 16e9)
    config, error = search_up_to_work(CONFIG, f"--config.{name}={value}")
    assert config is None
    assert f"config.{name}" in error or f"config.{name.split('.')[0]} with" in error


def test_epochs_that_leave_the_range_of_steps():
    config = quickstart.get_config()
    config.supernet.epochs = 2**30
    wiring.check(config)
    with pytest.raises(UsageError, match="config.supernet.epochs=1073741824 makes 19327352832"):
        wiring.check_data(config, DIGITS)


def test_classes_that_no_machine_holds(place, monkeypatch):
    monkeypatch.setattr(wiring, "_memory", lambda device: 16e9)
    path, _ = place
    path.write_bytes(archive(images=VALID["images"], labels=np.arange(20) * 10**8))
    config = quickstart.get_config()
    config.data.name, config.data.valid_examples = "arrays", 1
    with pytest.raises(UsageError, match="classes of config.data needs at least .* GB"):
        wiring.check_data(config, load("arrays", path=path))


def test_every_field_has_a_rule():
    others = {
        "rank": rank_nasbench201.get_config(),
        "study": rank_study.get_config(),
        "train": cifar_train.get_config(),
        "comparison": tabular.get_config(),
    }
    streamed = imagenet_train.get_config()
    every = [*others.values(), streamed]
    known = DEFAULTS.keys() | {name for config in every for name, _ in leaves(config)}
    assert fields.RULES.keys() == known
    fields.check_fields(cifar.get_config())
    for job, config in [*others.items(), ("train", streamed)]:
        fields.check_fields(config, job)
        assert fields.job_of(config) == job
        if job != "study" and config is not streamed:  # "study" shares its launcher with "rank"
            launcher = fields.LAUNCHERS[job]
            with pytest.raises(UsageError, match=f"no such field here; .* one for {launcher}$"):
                fields.check_fields(config)
    with pytest.raises(UsageError, match="no such field here; .* one for launch.search"):
        fields.check_fields(cifar.get_config(), "rank")
    config = cifar.get_config()
    config.supernet.epoch = 3
    with pytest.raises(UsageError, match="config.supernet.epoch: there is no such field$"):
        fields.check_fields(config)


@pytest.mark.parametrize("name", sorted(fields.WHOLE.keys() & DEFAULTS.keys()))
def test_the_ends_of_a_range(name):
    section, _, key = name.rpartition(".")
    for end in fields.WHOLE[name]:
        config = quickstart.get_config()
        (config[section] if section else config)[key] = end
        with contextlib.suppress(UsageError):
            wiring.check(config)
            assert is_sound(config)


def test_least_memory_is_no_more_than_the_weights():
    config = quickstart.get_config()
    config.space.nodes, config.network.channels = 2, 64
    outline = wiring.make_outline(config, 10)
    architecture = np.zeros(outline.space.decisions, np.int32)
    make = lambda key: Supernet(outline).init(key, np.zeros((1, 32, 32, 3)), architecture)["params"]
    weights = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(make, jax.random.key(0))))
    least = next(iter(wiring._needs(config, outline, (32, 32, 3)).values())) / 12
    assert 0.8 * weights < least < weights


# Architectures.

SPACE = nao_space()
SPACES = {
    "nao": SPACE,
    "nasbench201": nasbench201_space(),
    "shufflenet": Outline(channel_choice=True).space,
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
        assert row.dtype == np.int32 and row.shape == (space.decisions,)
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
    path = tmp_path_factory.getbasetemp() / "fuzzed.txt"
    path.write_bytes(content)
    words = ("--config=configs/cifar.py", "--config.data.name=digits", f"--archs={path}")
    _, out, _ = play(inspect.main, *words)
    for line in out.splitlines():
        row = json.loads(line)
        assert row["params"] > 0 and row["macs"] > 0 and SPACE.parse(row["arch"]).shape == (40,)


# The other launchers.

JOBS = {"rank": rank_nasbench201, "study": rank_study, "compare": tabular, "train": cifar_train}
RUNNERS = {"rank": ranking, "study": studying, "compare": comparing, "train": training}


@pytest.mark.parametrize("name", JOBS)
@fuzz(100)
@given(data=st.data())
def test_any_command_line_of_the_other_jobs(name, data):
    module, job = JOBS[name], RUNNERS[name]
    field = st.sampled_from(sorted(name for name, _ in leaves(module.get_config())))
    one = st.builds("--config.{}={}".format, field, VALUES)
    words = data.draw(st.lists(one, max_size=3))
    text = data.draw(st.just("naonet_v2") | VALUES | damaged_rows())

    def main():  # what the launchers do, whose flags exclude each other in one program
        config = command.required(command.CONFIG, "configs/cifar.py")
        if name == "train":
            fields.check_fields(config, "train")
            config.arch = architectures.named(config, text)
        job.check(config)

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
        wiring.check_data(config, images)
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
    made = {
        name + suffix: npy(member, content) if isinstance(member, str) else member
        for name, member in members.items()
    }
    check_archive(place[0], zipped(made))


def pickles(made):
    payload = np.array([Payload(made)], object)
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
    path, made = place
    for content in pickles(made):
        assert not check_archive(path, content)
        assert not made.exists()
    with np.load(io.BytesIO(next(pickles(made))), allow_pickle=True) as file:
        file["images"].item().close()  # it is a payload
    made.unlink()


@fuzz(100)
@given(data=st.data(), number=st.integers(0, 5))
def test_a_damaged_pickle_is_not_run(place, data, number):
    path, made = place
    check_archive(path, data.draw(damaged(list(pickles(made))[number])))
    assert not made.exists()


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
        found = [node for node in ast.walk(ast.parse(file.read_text())) if runs_code(node)]
        assert not found, f"{file}:{found[0].lineno}"


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
        ("search", [b"--workdir=\xff"], "not UTF-8"),
        ("inspect", ["--config.space.nodes=1000000", "--archs=-"], "config.space.nodes"),
    ],
)
def test_the_launchers_end_in_one_line(module, words, named):
    done = subprocess.run(
        [sys.executable, "-m", f"launch.{module}", CONFIG, *words],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert named in done.stderr

"""No archive of images gives a traceback, and none runs code: damage, any arrays, pickles.

BNAO_FUZZ_EXAMPLES=20000 tries so many inputs of each kind.
"""

import contextlib
import io
import pickle
import warnings
import zipfile

import numpy as np
import pytest
from config_fields import LITERALS, NUMBERS, fuzz, is_one_line
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from bnao_jax.data import DataError, load
from configs import quickstart
from launch.command import UsageError
from launch.config.plan import plan


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


def test_classes_that_no_machine_holds(place, monkeypatch):
    monkeypatch.setattr("bnao_jax.parallel.memory", lambda device: 16e9)
    path, _ = place
    path.write_bytes(archive(images=VALID["images"], labels=np.arange(20) * 10**8))
    config = quickstart.get_config()
    config.data.name, config.data.valid_examples = "arrays", 1
    with pytest.raises(UsageError, match="classes of config.data needs at least .* GB"):
        plan(config).check_images(load("arrays", path=path))

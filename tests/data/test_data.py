"""The data room: loaders and their errors, and the split."""

import dataclasses
import pathlib
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from conftest import SHARED
from test_fetching import archive_of

from bnao_jax import data
from bnao_jax.data.cifar import read_archive
from configs import cifar as cifar_config
from launch.config.plan import plan

PARTS = "train", "test"
TFDS_DIR = pathlib.Path(__file__).parents[3] / "shared/data/tfds"


def image_data(train: int = 40, ids=None) -> data.ImageData:
    """Train images whose every pixel, and label, is their id."""
    ids = np.arange(train) if ids is None else np.asarray(ids)
    images = np.broadcast_to(ids.astype(np.uint8)[:, None, None, None], (train, 4, 4, 2))
    return data.ImageData(
        name="toy",
        train_images=images.copy(),
        train_labels=ids.astype(np.int32),
        train_ids=ids.astype(np.int64),
        test_images=images[:0],
        test_labels=np.zeros(0, np.int32),
        classes=train,
    )


def message(call, *args, error=data.DataError, **kwargs) -> str:
    with pytest.raises(error) as raised:
        call(*args, **kwargs)
    text = str(raised.value)
    assert text and "\n" not in text
    return text


# ImageData


def test_channel_moments_are_those_of_all_pixels():
    images = np.random.default_rng(0).integers(0, 256, (1500, 4, 5, 3), np.uint8)
    toy = image_data(1500)
    toy = data.ImageData(**(vars(toy) | {"train_images": images}))
    assert toy.image_shape == (4, 5, 3)
    assert toy.mean.dtype == toy.std.dtype == np.float32
    np.testing.assert_allclose(toy.mean, (images / 255).mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(toy.std, (images / 255).std((0, 1, 2)), rtol=1e-6)


def test_one_image_that_stands_for_all_is_read_once():
    one = np.random.default_rng(0).integers(0, 256, (1, 4, 5, 3), np.uint8)
    many = np.broadcast_to(one, (10**8, 4, 5, 3))  # 6 GB, which would take minutes
    np.testing.assert_array_equal(data.moments(many), data.moments(one))


def test_constant_channel_has_unit_deviation():
    toy = data.ImageData(**(vars(image_data()) | {"train_images": np.full((3, 4, 4, 1), 7, "u1")}))
    assert toy.std.tolist() == [1.0]


@pytest.mark.parametrize(
    "held, total, words",
    [
        (0, 0, "no test images"),
        (2, 0, "all 2 test images"),
        (2, 2, "all 2 test images"),
        (2, 10_000, "2 of the 10,000 test images"),
    ],
)
def test_note_says_how_much_of_the_test_part_is_there(held, total, words):
    part = {"test_images": np.zeros((held, 4, 4, 2), "u1"), "test_total": total}
    assert data.ImageData(**(vars(image_data()) | part)).test_note == words


# split


def test_split_divides_the_train_part():
    train, valid = data.split(image_data(40), 10, seed=3)
    assert (len(train.labels), len(valid.labels)) == (30, 10)
    assert sorted([*train.labels, *valid.labels]) == list(range(40))
    for part in (train, valid):
        assert part.images.dtype == np.uint8 and part.labels.dtype == np.int32
        np.testing.assert_array_equal(part.images[:, 0, 0, 0], part.labels)


def test_split_does_not_depend_on_storage_order_but_on_the_seed():
    stored = np.random.default_rng(1).permutation(40)
    first = data.split(image_data(40), 10, seed=3)
    for again in (
        data.split(image_data(40), 10, seed=3),
        data.split(image_data(40, stored), 10, seed=3),
    ):
        jax.tree.map(np.testing.assert_array_equal, again, first)
    assert list(data.split(image_data(40), 10, seed=4)[1].labels) != list(first[1].labels)


def test_limit_shortens_the_train_images_only():
    train, valid = data.split(image_data(40), 10, seed=3)
    few, same = data.split(image_data(40), 10, seed=3, limit=7)
    np.testing.assert_array_equal(few.labels, train.labels[:7])
    np.testing.assert_array_equal(same.labels, valid.labels)


def test_split_by_ids_holds_out_those_only():
    ids = np.arange(0, 40, 4)
    train, valid = data.split(image_data(40), 6, seed=3, valid_ids=ids)
    assert len(valid.labels) == 6 and {*valid.labels} <= {*ids}
    assert sorted(train.labels) == sorted({*range(40)} - {*ids})  # not those left over
    assert len(data.split(image_data(40), 6, seed=3, valid_ids=ids, limit=5)[0].labels) == 5
    with pytest.raises(ValueError, match="allowed are 0 to 10"):
        data.split(image_data(40), 11, seed=3, valid_ids=ids)


def test_official_split_is_nasbench201_s():
    valid = data.official_valid_ids("nasbench201")
    assert len(valid) == 25_000 and 0 < valid.min() and valid.max() < 50_000
    assert list(valid[:5]) == [1, 2, 3, 4, 6]
    path = SHARED / "data" / "nasbench201_splits.npz"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    with np.load(path) as known:
        np.testing.assert_array_equal(valid, np.sort(known["cifar10_valid"]))


def test_split_without_validation():
    train, valid = data.split(image_data(40), 0, seed=0)
    assert len(train.images) == 40 and valid.images.shape == (0, 4, 4, 2)


@pytest.mark.parametrize("sizes", [{"valid_examples": 40}, {"valid_examples": -1}, {"limit": 0}])
def test_impossible_sizes(sizes):
    arguments = {"valid_examples": 4, "seed": 0} | sizes
    text = message(data.split, image_data(40), error=ValueError, **arguments)
    (name,) = sizes
    assert f"{name}={sizes[name]}" in text and "allowed" in text


# arrays


def archive(tmp_path, **changes) -> pathlib.Path:
    """An archive of six train and two test images; a change of None leaves the key out."""
    rng = np.random.default_rng(0)
    arrays = {
        "images": rng.integers(0, 256, (6, 4, 5, 3), np.uint8),
        "labels": np.arange(6) % 3,
        "ids": np.array([5, 3, 9, 0, 2, 7]),
        "test_images": rng.integers(0, 256, (2, 4, 5, 3), np.uint8),
        "test_labels": np.array([1, 2], np.uint8),
    }
    arrays = {key: value for key, value in (arrays | changes).items() if value is not None}
    np.savez(tmp_path / "mine.npz", **arrays)
    return tmp_path / "mine.npz"


def test_arrays_round_trip_in_order_of_ids(tmp_path):
    path = archive(tmp_path)
    stored, loaded = np.load(path), data.load("arrays", path=path)
    order = [3, 4, 1, 0, 5, 2]
    np.testing.assert_array_equal(loaded.train_ids, [0, 2, 3, 5, 7, 9])
    np.testing.assert_array_equal(loaded.train_images, stored["images"][order])
    np.testing.assert_array_equal(loaded.train_labels, stored["labels"][order])
    np.testing.assert_array_equal(loaded.test_images, stored["test_images"])
    np.testing.assert_array_equal(loaded.test_labels, [1, 2])
    assert (loaded.classes, loaded.test_note) == (3, "all 2 test images")
    assert (loaded.train_labels.dtype, loaded.train_ids.dtype) == (np.int32, np.int64)


def test_optional_keys_of_arrays(tmp_path):
    path = archive(tmp_path, ids=None, test_images=None, test_labels=None, classes=10)
    loaded = data.load("arrays", path=path)
    np.testing.assert_array_equal(loaded.train_ids, np.arange(6))
    assert loaded.test_images.shape == (0, 4, 5, 3) and loaded.test_labels.dtype == np.int32
    assert (loaded.classes, loaded.test_note) == (10, "no test images")


IMAGES = np.zeros((6, 4, 5, 3), np.uint8)


@pytest.mark.parametrize(
    "key, value, found",
    [
        ("images", None, "missing"),
        ("images", IMAGES.astype(np.float32), "float32 [6, 4, 5, 3]"),
        ("images", IMAGES[..., 0], "uint8 [6, 4, 5]"),
        ("images", IMAGES[:, :3], "uint8 [6, 3, 5, 3]"),
        ("images", IMAGES[:0], "uint8 [0, 4, 5, 3]"),
        ("labels", None, "missing"),
        ("labels", np.zeros(5, int), "int64 [5]"),
        ("labels", np.zeros(6), "float64 [6]"),
        ("labels", np.zeros((6, 1), int), "int64 [6, 1]"),
        ("labels", np.arange(-1, 5), "-1 to 4"),
        ("labels", np.full(6, 2**31), "2147483648"),
        ("ids", np.zeros(6, int), "repeat"),
        ("ids", np.arange(7), "int64 [7]"),
        ("test_labels", None, "only one"),
        ("test_labels", np.zeros(3, int), "int64 [3]"),
        ("test_images", IMAGES[:2, :, :4], "[4, 4, 3]"),
        ("classes", 2, "0 to 2"),
        ("classes", 0, "0"),
        ("classes", 2.5, "2.5"),
        ("classes", np.ones(2, int), "int64 [2]"),
        ("label", np.zeros(6, int), "unknown"),
        ("labels", np.array([None] * 6), "Object arrays"),
    ],
)
def test_wrong_arrays_are_named(tmp_path, key, value, found):
    text = message(data.load, "arrays", path=archive(tmp_path, **{key: value}))
    assert found in text
    assert "allow_pickle" in text or key in text or (key == "classes" and "labels" in text)


def test_unreadable_archives(tmp_path):
    assert "needs path" in message(data.load, "arrays")
    assert "absent.npz" in message(data.load, "arrays", path=tmp_path / "absent.npz")
    whole = archive(tmp_path).read_bytes()
    middle = len(whole) // 2
    broken = {
        "empty": b"",
        "text": b"not an archive",
        "truncated": whole[:middle],
        "garbled": whole[:300] + bytes(b ^ 255 for b in whole[300:330]) + whole[330:],
    }
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        assert name in message(data.load, "arrays", path=tmp_path / name)
    np.save(tmp_path / "single.npy", IMAGES)
    assert "single array" in message(data.load, "arrays", path=tmp_path / "single.npy")


def test_classes_that_nobody_has_are_asked_for(tmp_path):
    path, labels = tmp_path / "mine.npz", np.arange(len(IMAGES)) % 4 + 1
    np.savez(path, images=IMAGES, labels=labels)
    assert "labels run from 1" in message(data.load, "arrays", path=path)
    np.savez(path, images=IMAGES, labels=labels, classes=5)
    assert data.load("arrays", path=path).classes == 5


def test_unknown_name_lists_the_names():
    text = message(data.load, "mnist")
    assert "mnist" in text and "cifar10, cifar100, digits, arrays" in text


# digits


def test_digits_form():
    digits = data.load("digits")
    assert digits.train_images.shape == (1500, 8, 8, 1) and digits.train_images.dtype == np.uint8
    assert digits.test_images.shape == (297, 8, 8, 1)
    assert (digits.train_images.min(), digits.train_images.max()) == (0, 255)
    assert set(digits.train_labels) == set(digits.test_labels) == set(range(digits.classes))


def test_digits_are_those_of_scikit_learn():
    original = pytest.importorskip("sklearn.datasets").load_digits()
    digits = data.load("digits")
    images = np.concatenate([digits.train_images, digits.test_images])
    np.testing.assert_array_equal(np.round(images[..., 0] * (16 / 255)), original.images)
    labels = np.concatenate([digits.train_labels, digits.test_labels])
    np.testing.assert_array_equal(labels, original.target)


# CIFAR through TensorFlow Datasets


@pytest.fixture(scope="module")
def tfds_dir():
    pytest.importorskip("tensorflow_datasets")
    if not TFDS_DIR.is_dir():
        pytest.skip(f"no prepared data in {TFDS_DIR}")
    return TFDS_DIR


@pytest.fixture
def broken_dir(tfds_dir, tmp_path):
    """The prepared data set without its train file, to be damaged further."""
    skip_train = shutil.ignore_patterns("*train*")
    shutil.copytree(
        tfds_dir / "cifar10", tmp_path / "cifar10", ignore=skip_train, copy_function=shutil.copyfile
    )
    (folder,) = (tmp_path / "cifar10").iterdir()
    folder.chmod(0o755)
    return folder


def test_cifar10(tfds_dir, capfd, tmp_path):
    cifar = data.load("cifar10", data_dir=tfds_dir)
    assert capfd.readouterr() == ("", "")
    assert cifar.train_images.shape == (50_000, 32, 32, 3) and cifar.train_images.dtype == np.uint8
    assert cifar.test_images.shape == (9_980, 32, 32, 3)
    assert cifar.test_note == "9,980 of the 10,000 test images"
    np.testing.assert_array_equal(cifar.train_ids, np.arange(50_000))
    # The official batches begin with a frog and two trucks; the test part has a cat, two ships.
    assert cifar.train_labels[:3].tolist() == [6, 9, 9] and cifar.train_labels[16399] == 7
    assert cifar.test_labels[:3].tolist() == [3, 8, 8]
    np.testing.assert_array_equal(np.bincount(cifar.train_labels), np.full(10, 5_000))
    # Known to six places; their rounding and float32's are below 1e-5.
    np.testing.assert_allclose(cifar.mean, [0.491400, 0.482158, 0.446531], atol=1e-5)
    np.testing.assert_allclose(cifar.std, [0.247032, 0.243485, 0.261588], atol=1e-5)
    # The official archive gives the same.
    parts = [(getattr(cifar, f"{n}_images"), getattr(cifar, f"{n}_labels")) for n in PARTS]
    (tmp_path / "file").write_bytes(archive_of("cifar10", *parts))
    read = read_archive("cifar10", tmp_path / "file")
    for field in dataclasses.fields(cifar):
        np.testing.assert_array_equal(getattr(read, field.name), getattr(cifar, field.name))
    # What its config says of it.
    config = cifar_config.get_config("smoke")
    job = plan(config)
    job.check_images(cifar)
    assert data.form("cifar10") == (cifar.image_shape, cifar.classes)
    assert job.settings.data.trained_on(cifar) == 2_560


def test_cifar_in_another_file_format(broken_dir):
    info = broken_dir / "dataset_info.json"
    content = info.read_text().replace('"array_record"', '"tfrecord"')
    info.unlink()
    info.write_text(content)
    assert "another data_dir" in message(data.load, "cifar10", data_dir=broken_dir.parents[1])


@pytest.mark.parametrize("damage", ["no train file", "truncated", "empty", "garbled info"])
def test_damaged_cifar(broken_dir, damage):
    test_file = next(broken_dir.glob("*test*"))
    if damage != "no train file":  # the damaged test file becomes the train file, read first
        content = {"truncated": test_file.read_bytes()[: 1 << 20]}.get(damage, b"")
        test_file.with_name(test_file.name.replace("test", "train")).write_bytes(content)
    if damage == "garbled info":
        (broken_dir / "dataset_info.json").unlink()
        (broken_dir / "dataset_info.json").write_text("{")
    text = message(data.load, "cifar10", data_dir=broken_dir.parents[1])
    assert text.startswith(f"cifar10 in {broken_dir.parents[1]} cannot be read: ")


@pytest.mark.parametrize("package", ["tensorflow_datasets", "PIL"])
def test_missing_packages_are_named(monkeypatch, tfds_dir, package):
    monkeypatch.setitem(sys.modules, package, None)
    text = message(data.load, "cifar10", data_dir=tfds_dir)
    assert f"cifar10 needs {package}: pip install" in text


def test_import_is_light():
    code = "import sys, bnao_jax.data; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    roots = {name.split(".")[0] for name in run.stdout.split()}
    assert "bnao_jax" in roots
    heavy = {"tensorflow_datasets", "tensorflow", "PIL", "grain", "sklearn", "ml_collections"}
    assert not roots & heavy

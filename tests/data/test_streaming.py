"""The data room for what does not fit in memory: folders and the order of the stream."""

import json
import os
import pathlib
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import photographs
import pytest
from conftest import ROOT, SHARED
from test_data import message

from bnao_jax import data
from bnao_jax.data import crops
from bnao_jax.data.pieces import EvaluationPieces, Part, TrainingPieces, epoch_order
from bnao_jax.data.streaming import Batches

SIDE = 16


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return photographs.tree(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def part(root):
    files = data.read_folder(root).train
    return Part(files, np.arange(len(files)))


# Folders


def test_classes_are_numbered_by_name(root):
    found = data.read_folder(root)
    assert found.classes == 3 and (len(found.train), len(found.validation)) == (21, 9)
    for files, part in ((found.train, "train"), (found.validation, "val")):
        names = [pathlib.Path(files.name(n)) for n in range(len(files))]
        assert names == sorted((root / part).glob("*/*.jpeg"))
        np.testing.assert_array_equal(files.labels, ["abc".index(p.parent.name) for p in names])
    content, label = found.train.read([9])[0]
    assert content == (root / "train/b/2.jpeg").read_bytes() and label == 1


def test_a_tree_without_parts(root):
    found = data.read_folder(root / "train")
    assert (len(found.train), len(found.validation), found.classes) == (21, 0, 3)


def test_another_list_is_told_apart(root, tmp_path):
    number = lambda root: data.read_folder(root).train.crc32(0)
    copy = shutil.copytree(root, tmp_path / "copy")
    assert number(root) == number(copy)
    (copy / "train/a/3.jpeg").rename(copy / "train/a/30.jpeg")
    assert number(root) != number(copy)


@pytest.fixture
def copied(root, tmp_path):
    return shutil.copytree(root, tmp_path / "copy")


def test_what_is_no_image_is_left_out_and_counted(copied):
    (copied / "train/a/Thumbs.db").write_bytes(b"x")
    (copied / "val/a/.DS_Store").write_bytes(b"x")
    (copied / "train/.cache").mkdir()
    found = data.read_folder(copied)
    assert len(found.train) == 21
    expected = f"left out, as no .jpeg, .jpg, .png: {copied}/train/a/Thumbs.db and 1 more"
    assert found.note == expected


def spoil(copied, damage):
    if damage == "absent":
        shutil.rmtree(copied)
    elif damage == "flat":
        shutil.rmtree(copied / "val")
        shutil.copytree(copied / "train/a", copied / "val")
    elif damage == "unknown class":
        (copied / "val/c").rename(copied / "val/d")
    elif damage == "empty class":
        shutil.rmtree(copied / "train/b")
        (copied / "train/b").mkdir()
    elif damage == "no image":
        (copied / "train/b/0.jpeg").write_text("not an image")
    elif damage.startswith("table"):
        shutil.copytree(copied / "train/a", copied / "images")
        content = {
            "table": "file,label\n0.jpeg,1\n7.jpeg,0\n",
            "table of words": "file,label\n0.jpeg,cat\n",
            "table without labels": "file,class\n0.jpeg,1\n",
            "table below 0": "file,label\n0.jpeg,-1\n",
            "table of none": "file,label\n",
        }
        (copied / "labels.csv").write_text(content[damage])


@pytest.mark.parametrize(
    "damage, words",
    [
        ("absent", "there is no such folder"),
        ("flat", "val holds no folders of classes: sort its images into folders"),
        ("unknown class", "val/d: there is no such class in train"),
        ("empty class", "train/b holds no .jpeg, .jpg, .png files"),
        ("no image", "train/b/0.jpeg cannot be read as an image: its content is none of JPEG, PNG"),
        ("table", "images/7.jpeg is missing; labels.csv names it"),
        ("table of words", "labels.csv: line 2 has no file and whole number"),
        ("table without labels", "labels.csv has no column 'label'"),
        ("table below 0", "labels run from -1 to -1"),
        ("table of none", "names no images"),
    ],
)
def test_damaged_folders_are_named(copied, damage, words):
    spoil(copied, damage)
    assert words in message(data.read_folder, copied)


def test_the_sample_of_imagenet():
    if not (SHARED / "data/imagenet_sample").is_dir():
        pytest.skip("no sample")
    found = data.open_streamed("folder", image_size=32, path=SHARED / "data/imagenet_sample")
    assert len(found.train) == 220 and found.train.labels[:3].tolist() == [0, 5, 10]
    whole, _ = data.split(found, 0, seed=0)
    grey = [crops.opened(c).mode for c, _ in found.train.read(range(220))].count("L")
    assert grey == 23  # as its description says
    with Batches(EvaluationPieces(whole, data.CentreCrop(32), 110)) as batches:
        ((first, labels, counts),), ((second, *_),) = batches
    assert first.shape == second.shape == (110, 32, 32, 3) and counts.all()
    np.testing.assert_array_equal(labels, found.train.labels[whole.rows[:110]])
    # Photographs are near ImageNet's mean colour; 220 of them within a few hundredths.
    mean = np.concatenate([first, second]).mean((0, 1, 2)) / 255
    np.testing.assert_allclose(mean, found.mean, atol=0.04)


# The stream


def pieces(part, devices=1, own=(0,), batch_size=6, **changes):
    settings = dict(part=part, crop=data.RandomCrop(SIDE), batch_size=batch_size, seed=5)
    return TrainingPieces(**(settings | changes), devices=devices, places=own)


def streamed(made, first=0, last=None, workers=0):
    """Images and labels of the steps, the own devices' rows joined."""
    with Batches(made, first, last, workers=workers) as batches:
        return [tuple(map(np.concatenate, zip(*step, strict=True))) for step in batches]


@pytest.fixture(scope="module")
def whole(part):
    """Seven steps: two epochs of three, and one."""
    return streamed(pieces(part), last=7)


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        for a, b in zip(one, other, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)


def test_an_epoch_shows_each_image_once(part, whole):
    orders = [epoch_order(5, epoch, 21) for epoch in range(2)]
    for order, steps in zip(orders, (whole[:3], whole[3:6]), strict=True):
        assert sorted(order) == list(range(21))
        labels = np.concatenate([labels for _, labels in steps])
        np.testing.assert_array_equal(labels, part.records.labels[order[:18]])
    assert orders[0].tolist() != orders[1].tolist()
    assert whole[0][0].shape == (6, SIDE, SIDE, 3) and whole[0][0].dtype == np.uint8
    # The same image is cropped anew in the next epoch.
    first, second = (order[:18].tolist() for order in orders)
    image = next(iter({*first} & {*second}))
    crop = lambda at, steps: steps[at // 6][0][at % 6]
    assert (crop(first.index(image), whole) != crop(second.index(image), whole[3:])).any()


def test_a_stream_goes_on_from_any_step(part, whole):
    for first in (2, 4):
        assert_same(streamed(pieces(part), first, 7), whole[first:])


def test_a_device_s_rows_do_not_depend_on_the_others(part, whole):
    assert_same(streamed(pieces(part, 3, (0, 1, 2)), last=2), whole[:2])
    own = streamed(pieces(part, 3, (1,)), last=2)
    assert_same(own, [(images[2:4], labels[2:4]) for images, labels in whole[:2]])


def test_another_seed_is_another_stream(part, whole):
    assert (streamed(pieces(part, seed=6), last=1)[0][1] != whole[0][1]).any()


@pytest.mark.parametrize("batch_size, devices", [(4, 1), (4, 2), (9, 3), (20, 1)])
def test_evaluation_counts_each_image_once(root, batch_size, devices):
    files = data.read_folder(root).validation
    part, own = Part(files, np.arange(9)), tuple(range(devices))
    made = EvaluationPieces(part, data.CentreCrop(SIDE), batch_size, devices, own)
    images, labels, counts = map(np.concatenate, zip(*streamed(made), strict=True))
    assert len(images) == made.steps * batch_size and counts.sum() == 9
    np.testing.assert_array_equal(labels[counts], files.labels)
    by_hand = [data.CentreCrop(SIDE)(content) for content, _ in files.read(range(9))]
    np.testing.assert_array_equal(images[counts], by_hand)


def test_a_damaged_image_is_named(copied):
    path = copied / "train/b/4.jpeg"
    path.write_bytes(path.read_bytes()[:1000])
    files = data.read_folder(copied).train
    made = pieces(Part(files, np.arange(21)))
    text = message(streamed, made)
    assert f"{path} cannot be decoded: " in text and "the same command goes on" in text
    path.unlink()
    assert f"{path} cannot be read: No such file" in message(streamed, made)


def test_split_of_streamed_images(root):
    found = data.open_streamed("folder", image_size=SIDE, path=root)
    train, valid = data.split(found, 5, seed=1)
    assert sorted([*train.rows, *valid.rows]) == list(range(21)) and valid.examples == 5
    again, same = data.split(found, 5, seed=1, limit=4)
    np.testing.assert_array_equal(again.rows, train.rows[:4])
    np.testing.assert_array_equal(same.rows, valid.rows)
    assert train.crc32(0) != again.crc32(0) != valid.crc32(0)
    assert found.image_shape == (SIDE, SIDE, 3) and found.validation_part.examples == 9


PROGRAM = """
import json, multiprocessing, sys
import numpy as np
from bnao_jax import data
from bnao_jax.data.pieces import Part, TrainingPieces
from bnao_jax.data.streaming import Batches
if __name__ == "__main__":
    part = Part(data.read_folder(sys.argv[1]).train, np.arange(21))
    made = TrainingPieces(part, data.RandomCrop(16), 6, 5, devices=3, places=(0, 1, 2))
    batches, found = Batches(made, last=7, workers=2), []
    try:
        while True:
            found.append(np.concatenate([images for images, _ in next(batches)]))
            if len(found) == 1:
                children = multiprocessing.active_children()
                print(json.dumps([child.pid for child in children]), flush=True)
                input()
    except data.DataError as error:
        np.save("found.npy", found)
        print(error, flush=True)
        input()
"""


def ended(process):
    """Whether a process has ended, or is only waiting to be looked after."""
    try:
        stat = pathlib.Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def held_back(process):
    """The signals that wait as long as a process does not want to hear of them."""
    status = pathlib.Path(f"/proc/{process}/status").read_text()
    mask = int(re.search(r"SigBlk:\s*(\w+)", status)[1], 16)
    return {number for number in range(1, 32) if mask >> (number - 1) & 1}


def test_workers_keep_the_order_name_damage_and_end_with_their_program(copied, whole, tmp_path):
    files = data.read_folder(copied).train
    damaged = pathlib.Path(files.name(epoch_order(5, 0, 21)[12]))  # of the third batch
    damaged.write_bytes(damaged.read_bytes()[:1000])
    (tmp_path / "program.py").write_text(PROGRAM)
    program = subprocess.Popen(
        [sys.executable, "program.py", str(copied)],
        **dict(cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}),
        **dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True),
    )
    try:
        workers = json.loads(program.stdout.readline())
        assert len(workers) == 2
        for worker in workers:  # Ctrl-C and clusters tell all processes; it is not for them
            assert held_back(worker) >= {signal.SIGINT, signal.SIGTERM}
            os.kill(worker, signal.SIGTERM)
        assert not held_back(program.pid) & {signal.SIGINT, signal.SIGTERM}
        program.stdin.write("\n")
        program.stdin.flush()
        assert f"{damaged} cannot be decoded" in program.stdout.readline()
        found = np.load(tmp_path / "found.npy")
        np.testing.assert_array_equal(found, [images for images, _ in whole[:2]])
    finally:
        program.kill()
        program.communicate()
    until = time.monotonic() + 20
    while not all(map(ended, workers)):
        assert time.monotonic() < until, "a worker has outlived its program"
        time.sleep(0.1)


# ImageNet through TensorFlow Datasets


def test_absent_imagenet_says_what_to_download(tmp_path):
    pytest.importorskip("tensorflow_datasets")
    text = message(data.open_streamed, "imagenet2012", image_size=8, data_dir=tmp_path)
    assert "ILSVRC2012_img_train.tar" in text and f"{tmp_path}/downloads/manual" in text
    assert f"tfds.builder('imagenet2012', data_dir='{tmp_path}', file_format='arr" in text
    assert "tensorflow" not in sys.modules


FEATURES = {
    "image": ("image_feature.Image", {"image": {"encodingFormat": "jpeg", "dtype": "uint8"}}),
    "label": ("class_label_feature.ClassLabel", {"classLabel": {"numClasses": "1000"}}),
    "file_name": ("text_feature.Text", {"text": {}}),
}


def prepare_imagenet(data_dir, splits):
    """Writes what TFDS would have prepared, of {split: [(JPEG, label)]}, without TensorFlow."""
    module = pytest.importorskip("array_record.python.array_record_module")
    from tensorflow_datasets.proto import tf_example_generated_pb2 as protos

    folder = data_dir / "imagenet2012/5.1.0"
    folder.mkdir(parents=True)
    room = "tensorflow_datasets.core.features."
    features = {n: {"pythonClassName": room + c} | rest for n, (c, rest) in FEATURES.items()}
    features["image"]["image"]["shape"] = {"dimensions": ["-1", "-1", "3"]}
    top = {"pythonClassName": room + "features_dict.FeaturesDict"}
    top["featuresDict"] = {"features": features}
    (folder / "features.json").write_text(json.dumps(top))
    (folder / "label.labels.txt").write_text("".join(f"n{n:08d}\n" for n in range(1000)))
    about = []
    for split, rows in splits.items():
        file = folder / f"imagenet2012-{split}.array_record-00000-of-00001"
        writer = module.ArrayRecordWriter(str(file), "group_size:1")
        for content, label in rows:
            example = protos.Example()
            fields = example.features.feature
            fields["image"].bytes_list.value.append(content)
            fields["label"].int64_list.value.append(label)
            fields["file_name"].bytes_list.value.append(b"x.JPEG")
            writer.write(example.SerializeToString())
        writer.close()
        about.append({"name": split, "numBytes": "1", "shardLengths": [str(len(rows))]})
        about[-1]["filepathTemplate"] = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
    info = {"name": "imagenet2012", "version": "5.1.0", "fileFormat": "array_record"}
    (folder / "dataset_info.json").write_text(json.dumps(info | {"splits": about}))


def test_imagenet_as_tfds_stores_it_is_the_folder(root, tmp_path):
    folder = data.read_folder(root)
    splits = {"train": folder.train, "validation": folder.validation}
    read = {name: files.read(range(len(files))) for name, files in splits.items()}
    prepare_imagenet(tmp_path, read)
    found = data.open_streamed("imagenet2012", image_size=SIDE, data_dir=tmp_path)
    assert (len(found.train), len(found.validation), found.classes) == (21, 9, 1000)
    make = lambda records: pieces(Part(records, np.arange(21)))
    assert_same(streamed(make(found.train), last=2), streamed(make(folder.train), last=2))
    again = pickle.loads(pickle.dumps(found.train))  # as a worker receives it
    assert again.read([4]) == found.train.read([4]) and again.crc32(0) == found.train.crc32(0)
    content, label = read["train"][4]
    read["train"][4] = content[:200], label
    prepare_imagenet(tmp_path / "damaged", read)
    damaged = data.open_streamed("imagenet2012", image_size=SIDE, data_dir=tmp_path / "damaged")
    text = message(streamed, make(damaged.train))
    assert "image 4 of imagenet2012/train cannot be decoded" in text
    assert "tensorflow" not in sys.modules

"""Photographs in folders: one folder a class, or a table of labels beside them.

| what `path` holds                        | train       | validation            |
|------------------------------------------|-------------|-----------------------|
| `train/CLASS/*`, `val/CLASS/*`           | `train`     | `val` or `validation` |
| `CLASS/*`                                | all of them | none                  |
| `labels.csv`, with files in `images/`    | all of them | none                  |

Classes are numbered by name, from 0; ImageNet's folders (n01440764 and so on) so get the numbers
that TFDS gives them. `labels.csv` has the columns `file` and `label`, a whole number from 0.
"""

import csv
import os
import pathlib
import zlib
from typing import NamedTuple

import numpy as np

from bnao_jax.data.crops import opened
from bnao_jax.data.images import DataError

SUFFIXES = (".jpeg", ".jpg", ".png")
TRAIN, VALIDATION = "train", ("val", "validation")
TABLE, TABLE_FILES = "labels.csv", "images"
MAX_LABEL = 2**31 - 2


class Files:
    """Labelled image files; see `pieces.Records` for what the methods mean."""

    def __init__(self, root, names, labels):
        self.root = os.fspath(root)
        self.names = np.array([os.fsencode(name) for name in names], np.bytes_)  # [N], compact
        self.labels = np.asarray(labels, np.int32)

    def __len__(self):
        return len(self.names)

    def name(self, row):
        return os.path.join(self.root, os.fsdecode(self.names[row]))

    def read(self, rows):
        examples = []
        for row in rows:
            try:
                with open(self.name(row), "rb") as file:
                    examples.append((file.read(), self.labels[row]))
            except OSError as error:
                raise DataError(f"{self.name(row)} cannot be read: {error.strerror}") from None
        return examples

    def crc32(self, number):
        return zlib.crc32(self.labels, zlib.crc32(b"\0".join(self.names.tolist()), number))


class Folder(NamedTuple):
    """What a folder of photographs holds.

    Attributes:
      train: `Files` to train on.
      validation: `Files` to evaluate with, or none of them.
      classes: number of classes.
      note: what was left out, in words, or "".
    """

    train: Files
    validation: Files
    classes: int
    note: str


def read_folder(path: str | os.PathLike | None) -> Folder:
    """Lists the photographs in a folder, in the order of their classes and names.

    Files are listed, and the first of each class is opened; that the others can be decoded shows
    when they are read. Raises DataError.
    """
    if path is None:
        raise DataError(
            "data set 'folder' needs path, a folder with train/CLASS/*.jpg and val/CLASS/*.jpg"
        )
    root = pathlib.Path(os.path.expanduser(path))
    try:
        if not root.is_dir():
            raise DataError(f"{root}: there is no such folder")
        if (root / TABLE).is_file():
            return _from_table(root)
        return _from_tree(root)
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read: {error.strerror}") from None


def _from_tree(root):
    left_out = []
    has_parts = (root / TRAIN).is_dir()
    train_root = root / TRAIN if has_parts else root
    train, classes = _tree(train_root, None, left_out)
    validation = Files(root, [], [])
    for name in VALIDATION:
        if has_parts and (root / name).is_dir():
            validation, _ = _tree(root / name, classes, left_out)
            break
    note = ""
    if left_out:
        rest = "" if len(left_out) == 1 else f" and {len(left_out) - 1:,} more"
        note = f"left out, as no {', '.join(SUFFIXES)}: {left_out[0]}{rest}"
    return Folder(train, validation, len(classes), note)


def _tree(root, class_names, left_out):
    """The files of a folder per class, and the classes' names in order."""
    entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    classes = [e.name for e in entries if e.is_dir() and not e.name.startswith(".")]
    if not classes:
        raise DataError(
            f"{root} holds no folders of classes"
            + (": sort its images into folders as those of train" if class_names else "")
        )
    numbers = {name: n for n, name in enumerate(class_names or classes)}
    if strange := sorted(set(classes) - set(numbers)):
        raise DataError(f"{root / strange[0]}: there is no such class in {TRAIN}")
    names, labels = [], []
    for name in classes:
        files = sorted(entry.name for entry in os.scandir(root / name))
        images = [f"{name}/{file}" for file in files if file.lower().endswith(SUFFIXES)]
        left_out += [f"{root / name / f}" for f in files if not f.lower().endswith(SUFFIXES)]
        if not images:
            raise DataError(f"{root / name} holds no {', '.join(SUFFIXES)} files")
        _check_image(root / images[0])
        names += images
        labels += [numbers[name]] * len(images)
    return Files(root, names, labels), class_names or classes


def _from_table(root):
    names, labels, table = [], [], root / TABLE
    with open(table, newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        try:
            for row in rows:
                names.append(row["file"] or "")
                labels.append(int(row["label"]))
        except KeyError as error:
            raise DataError(f"{table} has no column {error}") from None
        except (ValueError, TypeError, csv.Error):
            line = rows.line_num
            raise DataError(f"{table}: line {line} has no file and whole number") from None
    if not names:
        raise DataError(f"{table} names no images")
    if not 0 <= min(labels) <= max(labels) <= MAX_LABEL:
        raise DataError(f"{table}: labels run from {min(labels)} to {max(labels)}, not from 0")
    held = set(os.listdir(root / TABLE_FILES))
    if absent := [name for name in names if name not in held]:
        raise DataError(f"{root / TABLE_FILES / absent[0]} is missing; {TABLE} names it")
    for name in dict(zip(labels, names, strict=True)).values():
        _check_image(root / TABLE_FILES / name)
    files = Files(root / TABLE_FILES, names, labels)
    return Folder(files, Files(root, [], []), 1 + max(labels), "")


def _check_image(path):
    """Raises DataError where a file does not begin as an image does."""
    try:
        opened(path.read_bytes())
    except ImportError:
        raise DataError("images in folders need pillow: pip install pillow") from None
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} cannot be read as an image: {reason}") from None

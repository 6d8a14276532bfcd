"""CIFAR-10 and CIFAR-100: what TFDS has prepared, or the official archive, fetched if need be.

Alex Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
https://www.cs.toronto.edu/~kriz/cifar.html. Both ways give the same images, ids and order: an id is
the place of an image in the files of the archive, and so it is in TFDS.
"""

import dataclasses
import gzip
import os
import pathlib
import tarfile
import zlib
from collections.abc import Callable

import numpy as np

from bnao_jax import files
from bnao_jax.data import tfds_source
from bnao_jax.data.images import DataError, ImageData

ADDRESS = "https://www.cs.toronto.edu/~kriz"
MIRROR = "BNAO_MIRROR"  # environment variable: another address of a folder with the archives
SHAPE = (32, 32, 3)


@dataclasses.dataclass(frozen=True)
class Archive:
    """An official archive of binary files, whose records are labels and an image each."""

    file: str
    megabytes: int
    sha256: str
    train: tuple[str, ...]  # files of records, in the official order
    test: tuple[str, ...]
    labels: int  # bytes of a record before its image; the last is the label


ARCHIVES = {
    "cifar10": Archive(
        "cifar-10-binary.tar.gz",
        170,
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        ("test_batch.bin",),
        labels=1,
    ),
    "cifar100": Archive(
        "cifar-100-binary.tar.gz",
        169,
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        ("train.bin",),
        ("test.bin",),
        labels=2,  # coarse and fine
    ),
}


def load_cifar(
    name: str,
    *,
    data_dir: str | os.PathLike | None = None,
    on_part: Callable | None = None,
) -> ImageData:
    """Returns `name` ("cifar10" or "cifar100", fine labels) in the official order.

    TFDS's files are looked for in `data_dir` (its own default folder if None), the archive in
    `data_dir` (the platform's cache folder if None), where it is fetched to; `on_part` is as in
    `fetching.fetched`. Missing test images of TFDS are not an error, see `ImageData.test_note`.
    Raises DataError.
    """
    if tfds_source.is_prepared(name, data_dir):
        return tfds_source.load_tfds(name, data_dir=data_dir)
    return read_archive(name, fetch(name, data_dir=data_dir, on_part=on_part))


def fetch(name, *, data_dir=None, on_part: Callable | None = None) -> pathlib.Path:
    """The path of the official archive, fetched unless it is there; raises DataError."""
    from bnao_jax.data.fetching import UnreachableError, fetched  # slow, and seldom needed

    archive, folder = ARCHIVES[name], _folder(data_dir)
    address = os.environ.get(MIRROR, ADDRESS).rstrip("/")
    try:
        return fetched(f"{address}/{archive.file}", folder, archive.sha256, on_part)
    except UnreachableError as error:
        raise DataError(
            f"{name}: {error}. Without a network: put {archive.file} ({archive.megabytes} MB, from"
            f" {ADDRESS}) into {folder}, or say where TFDS has prepared it (config.data.data_dir)"
        ) from None


def place(name, *, data_dir=None) -> str:
    """Where the images are, or would be fetched to, in words."""
    if tfds_source.is_prepared(name, data_dir):
        return f"prepared by TFDS in {tfds_source.folder_of(data_dir)}"
    archive, folder = ARCHIVES[name], _folder(data_dir)
    return f"{folder / archive.file} ({archive.megabytes} MB)"


def read_archive(name, path) -> ImageData:
    """The images of an archive; raises DataError where it cannot be read."""
    archive, parts = ARCHIVES[name], {}
    wanted = {*archive.train, *archive.test}
    try:
        with (
            files.open_file(path) as file,
            gzip.open(file) as content,
            tarfile.open(fileobj=content, mode="r|") as tar,
        ):
            for member in tar:
                if (part := pathlib.PurePosixPath(member.name).name) in wanted:
                    parts[part] = tar.extractfile(member).read()
            while content.read(2**20):  # to the checksum at the end
                pass
        train, test = (_records(archive, parts, names) for names in (archive.train, archive.test))
    except (OSError, EOFError, tarfile.TarError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} cannot be read as the archive of {name}: {reason}") from None
    except KeyError as error:
        raise DataError(f"{path} is not the archive of {name}: it lacks {error}") from None
    return ImageData(
        name=name,
        train_images=train[0],
        train_labels=train[1],
        train_ids=np.arange(len(train[1])),
        test_images=test[0],
        test_labels=test[1],
        classes=tfds_source.CLASSES[name],
        test_total=tfds_source.OFFICIAL_TEST_EXAMPLES,
    )


def _folder(data_dir):
    from bnao_jax.data.fetching import cache_folder

    return pathlib.Path(data_dir).expanduser() if data_dir else cache_folder()


def _records(archive, parts, names):
    """Images uint8[N, H, W, C] and labels int32[N] of some files of an archive."""
    pixels = int(np.prod(SHAPE))
    content = np.frombuffer(b"".join(parts[name] for name in names), np.uint8)
    rows = content.reshape(-1, archive.labels + pixels)
    channels_first = rows[:, archive.labels :].reshape(-1, SHAPE[2], *SHAPE[:2])
    images = np.ascontiguousarray(np.moveaxis(channels_first, 1, -1))
    return images, rows[:, archive.labels - 1].astype(np.int32)

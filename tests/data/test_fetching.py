"""The official archives of CIFAR: read as TFDS reads its own files, and fetched once."""

import concurrent.futures
import dataclasses
import errno
import hashlib
import http.server
import io
import os
import re
import tarfile
import threading

import numpy as np
import pytest

from bnao_jax import data
from bnao_jax.data import cifar, fetching


def archive_of(name, train, test, missing=()):
    """The bytes of an archive with (images, labels) of both parts, spread over its files."""
    archive, packed = cifar.ARCHIVES[name], io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=0) as tar:
        for names, (images, labels) in ((archive.train, train), (archive.test, test)):
            pixels = np.moveaxis(images, -1, 1).reshape(len(images), -1)
            columns = [np.zeros_like(labels)] * (archive.labels - 1) + [labels]
            rows = np.concatenate([np.stack(columns, 1).astype(np.uint8), pixels], 1)
            for file, part in zip(names, np.array_split(rows, len(names)), strict=True):
                if file not in missing:
                    info = tarfile.TarInfo(f"some-folder/{file}")
                    info.size = part.size
                    tar.addfile(info, io.BytesIO(part.tobytes()))
    return packed.getvalue()


def made(classes, count, seed):
    draw = np.random.default_rng(seed)
    shape = count, *cifar.SHAPE
    return draw.integers(0, 256, shape, np.uint8), draw.integers(0, classes, count, np.int32)


class Server(http.server.ThreadingHTTPServer):
    """Offers one file. `requests` are the ranges asked for; `cuts` ends an answer after so many."""

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.requests, self.cuts, self.ranges = content, [], [], True
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        server.requests.append(asked)
        if server.content is None:
            return self.send_error(404)
        start = int(asked[6:-1]) if asked and server.ranges else 0
        rest = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest[: server.cuts.pop(0)] if server.cuts else rest)
        self.close_connection = True

    def log_message(self, *args):
        del args


@pytest.fixture
def server(monkeypatch):
    """A server in place of the archive's address, whose file is cifar10's."""
    content = archive_of("cifar10", made(10, 20, 0), made(10, 4, 1))
    server = Server(content)
    known = dataclasses.replace(
        cifar.ARCHIVES["cifar10"], sha256=hashlib.sha256(content).hexdigest()
    )
    monkeypatch.setitem(cifar.ARCHIVES, "cifar10", known)
    monkeypatch.setenv(cifar.MIRROR, server.address)
    yield server
    server.shutdown()
    server.server_close()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


FILE = cifar.ARCHIVES["cifar10"].file


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_an_archive_is_read_in_the_official_order(name, tmp_path):
    classes = data.form(name)[1]
    train, test = made(classes, 20, 0), made(classes, 4, 1)
    (tmp_path / "file").write_bytes(archive_of(name, train, test))
    images = cifar.read_archive(name, tmp_path / "file")
    np.testing.assert_array_equal(images.train_images, train[0])
    np.testing.assert_array_equal(images.train_labels, train[1])
    np.testing.assert_array_equal(images.train_ids, np.arange(20))
    np.testing.assert_array_equal(images.test_images, test[0])
    np.testing.assert_array_equal(images.test_labels, test[1])
    assert (images.image_shape, images.classes) == data.form(name)
    assert images.test_note == "4 of the 10,000 test images"


def test_an_archive_is_fetched_once(server, tmp_path):
    parts = []
    images = data.load("cifar10", data_dir=tmp_path, on_part=lambda *part: parts.append(part))
    assert len(images.train_labels) == 20 and parts[-1] == (len(server.content),) * 2
    data.load("cifar10", data_dir=tmp_path)
    assert server.requests == [None] and names(tmp_path) == [FILE]


def test_what_tfds_has_prepared_is_not_fetched(server, tmp_path):
    folder = tmp_path / "cifar10/3.0.2"
    folder.mkdir(parents=True)
    (folder / "cifar10-train.array_record-00000-of-00001").touch()
    with pytest.raises(data.DataError, match=f"is not prepared in {tmp_path}; remove"):
        data.load("cifar10", data_dir=tmp_path)
    assert not server.requests


def test_several_at_once_fetch_once(server, tmp_path):
    load = lambda _: data.load("cifar10", data_dir=tmp_path)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert {len(images.train_labels) for images in pool.map(load, range(4))} == {20}
    assert server.requests == [None]


def test_a_broken_download_is_resumed(server, tmp_path):
    server.cuts = [20_000, 20_000]
    images = data.load("cifar10", data_dir=tmp_path)
    assert server.requests == [None, "bytes=16384-", "bytes=32768-"]
    assert len(images.train_labels) == 20 and names(tmp_path) == [FILE]


def test_the_next_start_goes_on(server, tmp_path):
    server.cuts = [20_000, 0, 0]
    with pytest.raises(data.DataError, match="no connection, or it broke off") as error:
        data.load("cifar10", data_dir=tmp_path)
    assert "\n" not in str(error.value)
    assert names(tmp_path) == [f"{FILE}.part"]
    server.requests.clear()
    assert len(data.load("cifar10", data_dir=tmp_path).train_labels) == 20
    assert server.requests == ["bytes=16384-"] and names(tmp_path) == [FILE]


def test_a_full_disk_is_one_line_and_what_has_come_is_kept(server, tmp_path, monkeypatch):
    real, left = open, [30_000]

    class Full(io.FileIO):
        def write(self, piece):
            left[0] -= len(piece)
            if left[0] < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(piece)

    def opened(path, mode):
        return (
            Full(path, mode.replace("b", "")) if str(path).endswith(".part") else real(path, mode)
        )

    monkeypatch.setattr(fetching, "open", opened, raising=False)
    with pytest.raises(data.DataError, match="No space left on device; .*part keeps") as error:
        data.load("cifar10", data_dir=tmp_path)
    assert "\n" not in str(error.value) and names(tmp_path) == [f"{FILE}.part"]
    assert "Without a network" not in str(error.value)  # there is one
    left[0] = 10**9  # there is room again
    assert len(data.load("cifar10", data_dir=tmp_path).train_labels) == 20
    assert server.requests[-1] == "bytes=16384-" and names(tmp_path) == [FILE]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_part_that_is_not_of_the_file(ranges, server, tmp_path):
    """Where the server gives parts, the hash tells, and the next start begins anew."""
    (tmp_path / f"{FILE}.part").write_bytes(b"something else")
    server.ranges = ranges
    if ranges:
        with pytest.raises(data.DataError, match="its hash is another"):
            data.load("cifar10", data_dir=tmp_path)
        assert names(tmp_path) == []
    assert len(data.load("cifar10", data_dir=tmp_path).train_labels) == 20


@pytest.mark.parametrize("what", ["absent", "another", "nobody"])
def test_what_cannot_be_fetched_is_said(what, server, tmp_path, monkeypatch):
    reason = {
        "absent": "the server answers 404",
        "another": "its hash is another",
        "nobody": "no connection",
    }[what]
    server.content = {"absent": None, "another": b"page"}.get(what)
    if what == "nobody":
        monkeypatch.setenv(cifar.MIRROR, "http://127.0.0.1:1")
    with pytest.raises(data.DataError, match=re.escape(reason)) as error:
        data.load("cifar10", data_dir=tmp_path)
    text = str(error.value)
    assert f"put {FILE} (170 MB, from {cifar.ADDRESS}) into {tmp_path}" in text
    assert "\n" not in text and names(tmp_path) == []


def test_a_file_that_is_not_the_archive_is_named(server, tmp_path):
    (tmp_path / FILE).write_bytes(b"something else")
    with pytest.raises(data.DataError, match=f"{FILE} is not the file of"):
        data.load("cifar10", data_dir=tmp_path)
    assert not server.requests


def test_damaged_archives_are_named(tmp_path):
    train, test = made(10, 20, 0), made(10, 4, 1)
    whole = archive_of("cifar10", train, test)
    lacking = archive_of("cifar10", train, test, missing=("data_batch_3.bin",))
    odd = archive_of("cifar100", train, test)  # records of another length
    for content, reason in (
        (whole[:40_000], "cannot be read as the archive of cifar10"),
        (whole[:40_000] + b"x" + whole[40_001:], "cannot be read as the archive of cifar10"),
        (b"", "cannot be read as the archive of cifar10"),
        (lacking, "it lacks 'data_batch_3.bin'"),
        (odd, "it lacks 'data_batch_1.bin'"),
    ):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(data.DataError, match=reason):
            cifar.read_archive("cifar10", tmp_path / "file")

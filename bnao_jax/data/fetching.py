"""Files from the internet, fetched once, with a known hash; pooch does it, this resumes it.

A download that breaks off leaves NAME.part, which the next one continues; a file under its own name
is whole, and its hash is right. Processes that share the folder fetch once: the others wait.
"""

import contextlib
import os
import pathlib
from collections.abc import Callable

import filelock
import pooch
import requests

from bnao_jax.data.images import DataError

TRIES = 3  # connections in one download, each from where the one before broke off
PATIENCE = 30.0  # seconds for an answer, or for the next bytes
PIECE = 2**14  # bytes; what has come of one is lost when a connection breaks off


class UnreachableError(DataError):
    """The address does not give the file."""


def cache_folder() -> pathlib.Path:
    """Where fetched files go by default: the platform's folder for what can be fetched again."""
    return pooch.os_cache("bnao_jax") / "data"


def fetched(
    url: str, folder: str | os.PathLike, sha256: str, on_part: Callable | None = None
) -> pathlib.Path:
    """The file of an address in a folder, fetched unless it is there.

    Args:
      url: its address; the last part is its name.
      folder: made if absent.
      sha256: of the file.
      on_part: `(bytes that are there, bytes in all or None)`, called now and then.

    Raises:
      UnreachableError: it cannot be fetched, or is another.
      DataError: the folder cannot be written, or the file there is another.
    """
    path = pathlib.Path(folder) / url.rpartition("/")[2]
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = f"{path}.lock"
            with filelock.FileLock(lock):
                try:
                    if not path.exists():
                        _fetch(url, path, sha256, on_part)
                finally:
                    with contextlib.suppress(OSError):
                        os.unlink(lock)
        elif pooch.file_hash(path) != sha256:
            raise DataError(f"{path} is not the file of {url}; remove it, and it is fetched")
    except requests.RequestException as error:  # an OSError, too
        raise UnreachableError(f"{url} cannot be fetched: {_reason(error)}") from None
    except OSError as error:
        part = path.with_name(f"{path.name}.part")
        kept = f"; {part} keeps what has come" if part.is_file() else ""
        raise DataError(f"{path} cannot be written: {error.strerror or error}{kept}") from None
    return path


def _fetch(url, path, sha256, on_part):
    pooch.get_logger().setLevel("ERROR")
    how = _Resumed(path.with_name(f"{path.name}.part"), on_part)
    try:
        pooch.retrieve(url, sha256, path.name, path.parent, downloader=how)
    except ValueError:
        raise UnreachableError(f"{url} is not what it should be: its hash is another") from None


class _Resumed:
    """A downloader as pooch calls it; begins where an earlier one broke off."""

    def __init__(self, part, on_part):
        self.part, self.on_part = part, on_part

    def __call__(self, url, output_file, pooch):
        del pooch
        for left in reversed(range(TRIES)):
            try:
                self.go_on(url)
                break
            except (requests.ConnectionError, requests.Timeout):
                if not left:
                    raise
        os.replace(self.part, output_file)

    def go_on(self, url):
        done = self.part.stat().st_size if self.part.exists() else 0
        headers = {"Range": f"bytes={done}-"} if done else {}
        with requests.get(url, stream=True, timeout=PATIENCE, headers=headers) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                return  # it is all there, or the hash will tell
            answer.raise_for_status()
            goes_on = answer.status_code == requests.codes.partial_content
            done = done if goes_on else 0
            rest = answer.headers.get("Content-Length")
            total = done + int(rest) if rest else None
            with open(self.part, "ab" if goes_on else "wb") as file:
                try:
                    for piece in answer.iter_content(PIECE):
                        file.write(piece)
                        done += len(piece)
                        if self.on_part:
                            self.on_part(done, total)
                except requests.exceptions.ChunkedEncodingError as error:
                    raise requests.ConnectionError(error) from None


def _reason(error):
    if isinstance(error, requests.HTTPError):
        return f"the server answers {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return f"no answer within {PATIENCE:.0f} s"
    if isinstance(error, requests.ConnectionError):
        return "no connection, or it broke off"
    return " ".join(str(error).split())

"""Architectures as users name them on the command line."""

import json
import pathlib

from bnao_jax import files
from launch.command import UsageError
from launch.config.plan import named as said_of
from launch.run import workdir


def named(plan, text) -> str:
    """The text form of the architecture that `--arch=text` means, in the space of a plan.

    `text` is a published name, a text form, a file that holds one, or the folder of a search.

    Raises:
      UsageError: it is none of these.
    """
    space = plan.space()
    decisions, published = space.decisions, space.published
    if text in published:
        text = published[text]
    elif _is_there(path := pathlib.Path(text).expanduser()):
        text = _of_folder(path) if path.is_dir() else _of_file(path)
    elif len(text.split()) < 2 and "|" not in text:  # a word is no text form
        names = ", ".join(published) or "none"
        raise UsageError(
            f"--arch={text} is neither a file or folder nor a published architecture of "
            f"{decisions.name}; there are: {names}"
        )
    return decisions.format(said_of("--arch", decisions.parse, text))


def is_folder(text) -> bool:
    """Whether `--arch=text` means the folder of a run."""
    path = pathlib.Path(text).expanduser()
    return _is_there(path) and path.is_dir()


def _is_there(path):
    """Whether a path is a file or a folder, and no device that could be read for ever."""
    try:
        return path.is_file() or path.is_dir()
    except (OSError, ValueError):  # too long for a path, or not one
        return False


def _of_folder(path):
    """The best architecture of a search, or the one that was trained there."""
    try:
        result = json.loads(files.read_text(path / workdir.RESULT, links=False))
        text = result["best"][0]["arch"] if "best" in result else result["arch"]
    except OSError as error:
        raise UsageError(
            f"--arch={path}: there is no finished search: {workdir.RESULT}: {error.strerror}"
        ) from None
    except (ValueError, LookupError, TypeError):
        text = None
    if not isinstance(text, str):
        raise UsageError(f"--arch={path}: its {workdir.RESULT} names no architecture")
    return text


def _of_file(path):
    try:
        lines = files.read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--arch={path} cannot be read: {error}") from None
    lines = [line for line in (line.split("#")[0].strip() for line in lines) if line]
    if len(lines) != 1:
        raise UsageError(f"--arch={path} holds {len(lines)} architectures, one a line; wanted is 1")
    return lines[0]

"""The folder of a run and the files in it."""

import json
import os
import pathlib
import tempfile

from launch.command import UsageError

POOL, CONTROL, RESULT = "pool.jsonl", "control.jsonl", "result.json"
METRICS, CONFIG = "metrics.jsonl", "config.json"


def claim(path, *, restart=False) -> pathlib.Path:
    """Makes the folder, or finds it empty, and returns it.

    With `restart` what an earlier search left is kept beside it, as `PATH.1` and so on.

    Raises:
      UsageError: it cannot be written to, or holds a search already.
    """
    folder = pathlib.Path(path).expanduser()
    try:
        if restart and folder.exists():
            _set_aside(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"--workdir={path} cannot be written: {error.strerror}") from None
    if any((folder / name).exists() for name in (CONFIG, POOL, METRICS)):
        raise UsageError(
            f"--workdir={path} holds a search already; choose another folder, or --restart to set "
            "that one aside and begin anew"
        )
    return folder


def _set_aside(folder):
    number = 1
    while (kept := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    folder.rename(kept)


def write(path, text):
    """Writes a file in one move: a reader sees the old one or the new one."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, path)


def write_json(path, value):
    """Writes a value as indented JSON."""
    write(path, json.dumps(value, indent=2) + "\n")


def write_pool(path, rows):
    """Writes dicts as JSON lines."""
    write(path, "".join(json.dumps(row) + "\n" for row in rows))

"""The folder of a run and the files in it."""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile

import filelock
from ml_collections import ConfigDict

from bnao_jax import files
from launch.command import UsageError

POOL, BASELINE, RESULT = "pool.jsonl", "baseline.jsonl", "result.json"
SCORES, RANKING, STUDY = "scores.jsonl", "ranking.json", "study.json"
SEARCHES, COMPARISON = "searches.jsonl", "comparison.json"
METRICS, CONFIG, NETWORK = "metrics.jsonl", "config.json", "network.json"
MACHINE, CHECKPOINTS, LOCK = "machine.json", "checkpoints", "lock"
EVENTS, REPORT, PICTURES = "tensorboard", "report.html", "report"
# What a run writes into, not anew.
OURS = (LOCK, METRICS, CHECKPOINTS, "damaged", EVENTS, PICTURES)
# Fields that may change when a run is continued: they change how it runs, not what it finds.
FREE = (
    *("devices", "compilation_cache", "checkpoint_every_steps", "checkpoint_every_seconds"),
    *("data.data_dir", "data.path", "data.workers", "scoring.per_dispatch", "truth"),
    *("tensorboard", "search.report", "search.latencies"),
)
SHOWN, LONGEST = 3, 200  # differences in a message, and characters of one


@contextlib.contextmanager
def claimed(path, config, *, restart=False):
    """Yields the folder, made if it is not there, and ours alone while the block runs.

    Args:
      path: the folder.
      config: dict of the run; an earlier run there is continued, so it must have had the same.
      restart: whether an earlier run is kept beside it, as `PATH.1` and so on, and a new one begun.

    Raises:
      UsageError: it cannot be written to, another run is using it, it holds something else, or a
        run of another config.
    """
    folder = pathlib.Path(os.path.expanduser(path))
    with contextlib.ExitStack() as held:
        try:
            if restart and folder.exists():
                with _locked(folder):
                    _set_aside(folder)
            folder.mkdir(parents=True, exist_ok=True)
            _check_links(folder)
            with tempfile.TemporaryFile(dir=folder):
                pass
            held.enter_context(_locked(folder))
        except OSError as error:
            raise UsageError(f"--workdir={path} cannot be written: {error.strerror}") from None
        try:
            _check(folder, config)
            yield folder
        finally:
            if not (folder / CONFIG).exists():  # nothing was begun, or it is no more here
                if not (folder / LOCK).exists():
                    _remove_remains(folder)
                held.close()
                with contextlib.suppress(OSError):
                    (folder / LOCK).unlink(missing_ok=True)
                    folder.rmdir()


def _remove_remains(folder):
    """Removes what Orbax made where the folder was, after it had been moved or removed."""
    with contextlib.suppress(OSError):
        if [path.name for path in folder.iterdir()] == [CHECKPOINTS]:
            shutil.rmtree(folder)


def _check_links(folder):
    """Raises UsageError where a run would write through a link to somewhere else."""
    paths = [folder / name for name in OURS] + [path for path in folder.iterdir() if path.is_dir()]
    for name in OURS:
        if (folder / name).is_dir() and not (folder / name).is_symlink():
            paths += (folder / name).rglob("*")
    for path in paths:
        if path.is_symlink():
            raise UsageError(
                f"--workdir={folder}: {path.relative_to(folder)} is a link; what a run writes lies "
                "in its folder"
            )


@contextlib.contextmanager
def _locked(folder):
    try:
        with filelock.FileLock(folder / LOCK, timeout=0):
            yield
    except filelock.Timeout:
        raise UsageError(f"--workdir={folder} is in use by another run") from None


def _check(folder, config):
    if not (folder / CONFIG).exists():
        if any(
            (folder / name).exists() for name in (POOL, METRICS, RESULT, RANKING, STUDY, SEARCHES)
        ):
            raise UsageError(
                f"--workdir={folder} holds results without a {CONFIG}; choose another folder, or "
                "--restart to set them aside"
            )
        return
    try:
        before = fields_of(json.loads(files.read_text(folder / CONFIG, links=False)))
    except (OSError, ValueError, AttributeError):
        raise UsageError(
            f"--workdir={folder}: its {CONFIG} cannot be read; choose another folder, or --restart "
            "to set that one aside"
        ) from None
    now = fields_of(json.loads(json.dumps(config)))
    differing = [
        f"config.{name} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in sorted(before.keys() | now.keys())
        if name not in FREE and before.get(name) != now.get(name)
    ]
    if differing:
        raise UsageError(
            f"--workdir={folder} holds a run with another config: {_some(differing)}; "
            "choose another folder, or --restart to set that one aside and begin anew"
        )


def _some(texts):
    """The first of some texts, and how many more there are."""
    more = f"; and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return "; ".join(text[:LONGEST] for text in texts[:SHOWN]) + more


def fields_of(config, prefix=""):
    """A nested dict as one from "a.b" to values."""
    fields = {}
    for name, value in config.items():
        if isinstance(value, dict):
            fields |= fields_of(value, f"{prefix}{name}.")
        else:
            fields[prefix + name] = value
    return fields


def _set_aside(folder):
    folder, number = folder.resolve(), 1
    while (kept := folder.with_name(f"{folder.name}.{number}")).exists():
        number += 1
    folder.rename(kept)


def write_json(path, value):
    """Writes a value as indented JSON."""
    files.write(path, json.dumps(value, indent=2) + "\n")


def write_pool(path, rows):
    """Writes dicts as JSON lines."""
    files.write(path, "".join(json.dumps(row) + "\n" for row in rows))


def read_config(folder) -> ConfigDict:
    """The config of the job in a folder.

    Raises:
      UsageError: there is none, or it cannot be read.
    """
    config = _read_json(folder, CONFIG)
    if "job" not in config:
        raise UsageError(
            f"--workdir={folder}: its {CONFIG} names no job; it is of an earlier version, whose "
            "results launch.report still shows"
        )
    try:
        return ConfigDict(config)
    except (AttributeError, TypeError, ValueError):  # names that no field can have
        raise UsageError(f"--workdir={folder}: its {CONFIG} cannot be read") from None


def read_network(folder) -> dict:
    """What a training has written about its network.

    Raises:
      UsageError: there is none, or it cannot be read.
    """
    return _read_json(folder, NETWORK)


def _read_json(folder, name):
    try:
        value = json.loads(files.read_text(folder / name, links=False))
    except OSError as error:
        raise UsageError(f"--workdir={folder}: {name}: {error.strerror}") from None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise UsageError(f"--workdir={folder}: its {name} cannot be read")
    return value

"""Checkpoints of a run: trees of arrays, written in the background, checked when read.

Written by Orbax, whose files are arrays and JSON: reading one runs nobody's code.
"""

import contextlib
import json
import pathlib
import re
import shutil
import time
import zlib
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import serialization, traverse_util
from orbax.checkpoint.checkpoint_managers import preservation_policy as policy

from bnao_jax import files

ATTEMPTS, PAUSE = 20, 0.2  # to read a folder whose checkpoints come and go; seconds
LONGEST = 200  # characters of an error that are shown
OF_THE_SYSTEM = re.compile(r"No space left on device|File too large|Disk quota exceeded")
KEPT = 2  # newest ones: if the last is damaged, the one before it remains


class CheckpointError(ValueError):
    """A checkpoint that cannot be written, or does not fit what it is read for."""


class Checkpoint(NamedTuple):
    """What a checkpoint holds.

    Attributes:
      number: from 1.
      arrays: dict from "/"-joined names to numpy arrays.
      facts: a JSON value.
    """

    number: int
    arrays: dict
    facts: Any


def flat(tree) -> dict:
    """The leaves of a tree as a dict from "/"-joined names to numpy arrays."""
    named = traverse_util.flatten_dict(serialization.to_state_dict(tree), sep="/")
    return {name: np.asarray(leaf) for name, leaf in named.items()}


def fill(template, arrays):
    """A tree with the structure of `template` and the arrays of `flat(tree)`.

    Raises:
      CheckpointError: names or dtypes differ, or numbers of axes.
    """
    wanted = flat(template)
    if differing := sorted(set(wanted) ^ set(arrays)):
        raise CheckpointError(f"the checkpoint is of another run: {differing[0]!r} does not fit")
    for name, leaf in wanted.items():
        array = arrays[name]
        if (array.dtype, array.ndim) != (leaf.dtype, leaf.ndim):
            raise CheckpointError(
                f"the checkpoint is of another run: {name!r} is {array.dtype}{array.shape}"
            )
    keep_empty = traverse_util.flatten_dict(
        serialization.to_state_dict(template), sep="/", keep_empty_nodes=True
    )
    state = traverse_util.unflatten_dict({**keep_empty, **arrays}, sep="/")
    return serialization.from_state_dict(template, state)


def read(folder, *, best=False) -> Checkpoint | None:
    """The newest sound checkpoint in a folder, or the best one; None if there is none.

    Changes nothing there, and waits for nobody: a run that writes to the folder goes on. What that
    run removes while it is read counts as never seen.

    Raises:
      CheckpointError: all are damaged, or what is wanted cannot be read.
    """
    folder = pathlib.Path(folder).absolute()
    for _ in range(ATTEMPTS):
        scores = {n: _score(folder, n) for n in _numbers(folder)}
        scored = [n for n in scores if scores[n] is not None]
        order = sorted(scores, reverse=True)
        if best and scored:
            order = [max(scored, key=lambda n: (scores[n], n))]
        errors = {}
        for number in order:
            try:
                return _read(folder, number)
            except Exception as error:  # Orbax and TensorStore raise a dozen kinds
                errors[number] = error
        if not errors:
            return None
        time.sleep(PAUSE)  # what is being removed is gone by then
        if errors.keys() <= set(_numbers(folder)):
            break
    number, error = next(iter(errors.items()))
    raise CheckpointError(
        f"checkpoint {number} of {folder} cannot be read: {_first_line(error)}"
    ) from error


def _numbers(folder):
    """The numbers of the checkpoints that are written."""
    try:
        return [int(p.name) for p in folder.iterdir() if p.name.isdecimal() and p.is_dir()]
    except OSError:
        return []


def _score(folder, number):
    """The score of a checkpoint; None where it has none."""
    try:
        text = files.read_text(folder / str(number) / "metrics" / "metrics", links=False)
        score = json.loads(text)["score"]
        return score if isinstance(score, float) else None
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _read(folder, number):
    path = folder / str(number)
    for entry in path.rglob("*"):  # TensorStore would follow a link and wait at a pipe
        if entry.is_symlink() or not (entry.is_file() or entry.is_dir()):
            raise CheckpointError(f"{entry.relative_to(folder)} is no file")
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler(), multiprocessing_options=_alone()) as io:
        restored = io.restore(
            path,
            args=ocp.args.Composite(
                arrays=ocp.args.StandardRestore(), index=ocp.args.JsonRestore()
            ),
        )
    index, arrays = restored.index, {}
    if index.get("crc32") != _crc32_of(index.get("arrays"), index.get("facts")):
        raise CheckpointError("its index is not what was written")
    for name, entry in index["arrays"].items():
        dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
        empty = 0 in shape
        leaf = np.zeros(shape, dtype) if empty else np.asarray(restored.arrays[name])
        if (leaf.dtype, leaf.shape, _crc32(leaf)) != (dtype, shape, entry["crc32"]):
            raise CheckpointError(f"{name} is not what was written")
        arrays[name] = leaf
    return Checkpoint(number, arrays, index["facts"])


def _crc32_of(*values):
    """The checksum of JSON values, however their text is laid out."""
    return zlib.crc32(json.dumps(values, sort_keys=True).encode())


def _alone():
    """This process reads and writes by itself; others neither write nor wait."""
    process = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=process, active_processes={process}, barrier_sync_key_prefix="checkpoints"
    )


class Checkpoints:
    """The checkpoints in a folder, for the one who writes them: the newest two, and the best.

    Belongs to one process, and opening it removes what an earlier one has left half-written; to
    look into a folder of somebody else, use `read`.
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder).absolute()
        score = lambda metrics: metrics["score"]
        best = policy.BestN(get_metric_fn=score, n=1, keep_checkpoints_without_metrics=False)
        self._options = ocp.CheckpointManagerOptions(
            preservation_policy=policy.AnyPreservationPolicy([policy.LatestN(KEPT), best]),
            best_fn=score,  # without it scores are not written
            multiprocessing_options=_alone(),
            cleanup_tmp_directories=True,
            create=False,
        )
        self._damaged = []
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.glob("[0-9]*/metrics/metrics"):
            if _score(self.folder, path.parts[-3]) is None:  # it would keep the manager shut
                self._set_aside(path.parent.parent, "its score cannot be read")
        self._open()

    def _open(self):
        self._manager = ocp.CheckpointManager(self.folder, options=self._options)

    def save(self, tree, facts, *, score=None):
        """Begins to write a checkpoint; waits for the one before it, and reports its errors.

        Args:
          tree: host arrays that nobody changes until the next call.
          facts: a JSON value.
          score: of this checkpoint, higher is better, if it competes to be the best.
        """
        arrays = flat(tree)
        entries = {
            name: {"dtype": str(leaf.dtype), "shape": list(leaf.shape), "crc32": _crc32(leaf)}
            for name, leaf in arrays.items()
        }
        facts = json.loads(json.dumps(facts))
        index = {"arrays": entries, "facts": facts, "crc32": _crc32_of(entries, facts)}
        # Orbax stores no empty arrays; the index lists them.
        stored = {name: leaf for name, leaf in arrays.items() if leaf.size}
        number = max(self._manager.all_steps(), default=0) + 1
        with self._reporting(number):
            args = ocp.args.Composite(
                arrays=ocp.args.StandardSave(stored),
                index=ocp.args.JsonSave(index),
            )
            metrics = None if score is None else {"score": float(score)}
            if not self._manager.save(number, args=args, metrics=metrics):
                raise CheckpointError("Orbax declined")

    @contextlib.contextmanager
    def _reporting(self, number):
        if not self.folder.is_dir():
            raise CheckpointError(f"the folder {self.folder} has vanished")
        try:
            yield
        except Exception as error:  # Orbax and TensorStore raise a dozen kinds
            if not self.folder.is_dir():
                raise CheckpointError(f"the folder {self.folder} has vanished") from error
            raise CheckpointError(
                f"checkpoint {number} cannot be written to {self.folder}: {_first_line(error)}; "
                "the earlier ones are kept"
            ) from error

    def wait(self):
        """Waits until everything is written."""
        with self._reporting("the last"):
            self._manager.wait_until_finished()

    def newest(self, on_damage=lambda text: None) -> Checkpoint | None:
        """The newest sound checkpoint, None if there has been none.

        Damaged ones are moved to the folder `damaged` beside this one, and `on_damage` is called.

        Raises:
          CheckpointError: all are damaged, or this one cannot be read at present.
        """
        checkpoint = None
        for number in sorted(self._manager.all_steps(), reverse=True):
            try:
                checkpoint = _read(self.folder, number)
                break
            except Exception as error:  # Orbax and TensorStore raise a dozen kinds
                passing = isinstance(error, MemoryError | OSError)  # a later attempt may succeed
                if passing and not isinstance(error, FileNotFoundError):
                    raise CheckpointError(
                        f"checkpoint {number} of {self.folder} cannot be read: {error}"
                    ) from error
                self._set_aside(self.folder / str(number), _first_line(error))
        for text in self._damaged:
            on_damage(text)
        if self._damaged and checkpoint is None:
            raise CheckpointError(
                f"all checkpoints of {self.folder} are damaged; they are in "
                f"{self.folder.parent / 'damaged'}"
            )
        if self._damaged:
            self._manager.close()
            self._open()
        return checkpoint

    def _set_aside(self, path, reason):
        """Moves a checkpoint out of the way; nothing is deleted."""
        beside = self.folder.parent / "damaged"
        beside.mkdir(exist_ok=True)
        target, times = beside / path.name, 0
        while target.exists():
            times += 1
            target = beside / f"{path.name}.{times}"
        shutil.move(path, target)
        self._damaged.append(f"{target} is damaged: {reason}")

    def close(self):
        """Waits and ends the background work."""
        with self._reporting("the last"):
            self._manager.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        # The error of the block is the one to report.
        with contextlib.suppress(Exception) if kind else contextlib.nullcontext():
            self.close()


def _crc32(leaf):
    return zlib.crc32(np.ascontiguousarray(leaf))


def _first_line(error):
    """What an error says, without the JSON that TensorStore adds."""
    text = str(error)
    if said := OF_THE_SYSTEM.search(text):
        return said[0]
    text = text.strip().partition("\n")[0].partition("{")[0].rstrip(" [;:")
    return text[:LONGEST] or type(error).__name__

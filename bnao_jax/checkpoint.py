"""Checkpoints of a run: trees of arrays, written in the background, checked when read.

Written by Orbax, whose files are arrays and JSON: reading one runs nobody's code.
"""

import contextlib
import json
import pathlib
import shutil
import zlib
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from flax import serialization, traverse_util
from orbax.checkpoint.checkpoint_managers import preservation_policy as policy

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


class Checkpoints:
    """The checkpoints in a folder: the newest two, and the best one by score.

    Belongs to one process; others neither write nor wait.
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder).absolute()
        score = lambda metrics: metrics["score"]
        best = policy.BestN(get_metric_fn=score, n=1, keep_checkpoints_without_metrics=False)
        process = jax.process_index()
        standalone = ocp.options.MultiprocessingOptions(
            primary_host=process, active_processes={process}, barrier_sync_key_prefix="checkpoints"
        )
        self._options = ocp.CheckpointManagerOptions(
            preservation_policy=policy.AnyPreservationPolicy([policy.LatestN(KEPT), best]),
            best_fn=score,  # without it scores are not written
            multiprocessing_options=standalone,
            cleanup_tmp_directories=True,
            create=False,
        )
        self._damaged = []
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.glob("[0-9]*/metrics/metrics"):
            if not _is_score(path):  # it would keep the manager from opening
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
        index = {
            name: {"dtype": str(leaf.dtype), "shape": leaf.shape, "crc32": _crc32(leaf)}
            for name, leaf in arrays.items()
        }
        # Orbax stores no empty arrays; the index lists them.
        stored = {name: leaf for name, leaf in arrays.items() if leaf.size}
        number = max(self._manager.all_steps(), default=0) + 1
        with self._reporting(number):
            args = ocp.args.Composite(
                arrays=ocp.args.StandardSave(stored),
                index=ocp.args.JsonSave({"arrays": index, "facts": facts}),
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
                checkpoint = self._read(number)
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

    def best(self) -> Checkpoint | None:
        """The one with the highest score, None if none has one.

        Raises:
          CheckpointError: it is damaged, or cannot be read at present.
        """
        if (number := self._manager.best_step()) is None:
            return None
        try:
            return self._read(number)
        except Exception as error:  # Orbax and TensorStore raise a dozen kinds
            raise CheckpointError(
                f"checkpoint {number} of {self.folder} cannot be read: {_first_line(error)}"
            ) from error

    def _read(self, number):
        restored = self._manager.restore(
            number,
            args=ocp.args.Composite(
                arrays=ocp.args.StandardRestore(), index=ocp.args.JsonRestore()
            ),
        )
        arrays = {}
        for name, entry in restored.index["arrays"].items():
            dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
            empty = np.zeros(shape, dtype)
            leaf = np.asarray(restored.arrays[name]) if empty.size else empty
            if (leaf.dtype, leaf.shape, _crc32(leaf)) != (dtype, shape, entry["crc32"]):
                raise CheckpointError(f"{name} is not what was written")
            arrays[name] = leaf
        return Checkpoint(number, arrays, restored.index["facts"])

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


def _is_score(path):
    try:
        return isinstance(json.loads(path.read_text(encoding="utf-8"))["score"], float)
    except (ValueError, LookupError, TypeError):
        return False


def _crc32(leaf):
    return zlib.crc32(np.ascontiguousarray(leaf))


def _first_line(error):
    return str(error).strip().partition("\n")[0] or type(error).__name__

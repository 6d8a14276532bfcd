"""Batches of images that do not fit in the memory of a device, decoded by other processes.

files = read_folder("imagenet").train
part = Part(files, np.arange(len(files)))
pieces = TrainingPieces(part, RandomCrop(224), batch_size=128, seed=0)
with Batches(pieces, last=10 * pieces.steps, workers=8) as batches:
    for ((images, labels),) in batches:  # of the only device, for ten epochs
        ...
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from multiprocessing import resource_tracker

import numpy as np

from bnao_jax.data.images import DataError

BUFFERED = 2  # pieces that each worker keeps ready
SIGNALS = (signal.SIGINT, signal.SIGTERM)  # that workers must not receive


class Batches:
    """Iterates over steps. Each is a list of what `pieces` returns for this process's devices.

    A context manager; its end stops the workers. Raises DataError where an image cannot be read.

    Args:
      pieces: `TrainingPieces` or `EvaluationPieces`.
      first, last: steps, the last excluded; `pieces.steps` by default.
      workers: processes that decode; 0: as many threads of this process as it has cores. The
        program that starts processes is imported by them: it has to be a module or a file whose
        work is done under `if __name__ == "__main__"`.

    Attributes:
      waited: seconds that `next` has taken so far.
    """

    def __init__(self, pieces, first=0, last=None, *, workers=0):
        try:
            import grain  # the other data sets do without
            from absl import flags
        except ImportError as error:
            raise DataError(f"streaming needs {error.name}: pip install grain pillow") from None
        self._devices, self.waited = len(pieces.places), 0.0
        self._starting = bool(workers)
        last = pieces.steps if last is None else last
        threads = 1 if workers else getattr(os, "process_cpu_count", os.cpu_count)()
        numbers = grain.MapDataset.range(first * self._devices, last * self._devices).map(pieces)
        stream = numbers.to_iter_dataset(grain.ReadOptions(threads, BUFFERED * threads))
        if workers := min(workers, len(numbers)):
            if not flags.FLAGS.is_parsed():  # of a program without flags; grain asks for its own
                flags.FLAGS.mark_as_parsed()
            options = grain.MultiprocessingOptions(workers, BUFFERED)
            stream = stream.mp_prefetch(options, worker_init_fn=_prepare_worker)
        self._stream = iter(stream)

    def __iter__(self):
        return self

    def __next__(self):
        started = time.perf_counter()
        try:
            with _signals_blocked() if self._starting else contextlib.nullcontext():
                pieces = [next(self._stream) for _ in range(self._devices)]
            self._starting = False
            # Copies, as the workers' memory goes when they do.
            return [tuple(map(np.array, piece)) for piece in pieces]
        except RuntimeError as error:
            if "terminated unexpectedly" not in str(error):
                raise
            raise DataError(
                "a process that decodes images has died: it takes fewer workers or more memory, "
                "also shared memory (/dev/shm; of a container --shm-size)"
            ) from error
        finally:
            self.waited += time.perf_counter() - started

    def close(self):
        """Stops the workers; there are no more batches."""
        self._stream.close()
        self._stream = iter(())  # frees what it holds before the program ends

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


@contextlib.contextmanager
def _signals_blocked():
    """Blocks signals while the block runs; processes that it starts keep them blocked."""
    resource_tracker.ensure_running()  # to start it later would let them through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare_worker(index, count):
    """Ends this process with the one that started it."""
    del index, count
    parent = multiprocessing.parent_process()

    def end_with_it():
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_it, daemon=True).start()

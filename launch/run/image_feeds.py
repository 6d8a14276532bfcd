"""What training and evaluation programs are fed with: images in memory, or a stream of batches."""

import contextlib
import time

from bnao_jax.data import Images
from bnao_jax.data.pieces import EvaluationPieces, TrainingPieces
from bnao_jax.data.streaming import Batches
from bnao_jax.parallel import own_places, replicate
from bnao_jax.training import streamed as streamed_training


class InMemory:
    """All images, put on the devices once."""

    def __init__(self, part, devices):
        self._part = replicate(part, devices)

    def at(self, step):
        """The arguments of the training program from a step on."""
        del step
        return self._part

    def pace(self):
        """Nothing to tell of: the images are there."""
        return {}

    def close(self):
        """Nothing to close."""


class Streamed:
    """Batches from any step on. Workers live until they are closed; a jump starts others."""

    def __init__(self, pieces, last, devices, workers):
        self._pieces, self._last = pieces, last
        self._devices, self._workers = devices, workers
        self._step = self._batches = None
        self._waited, self._seen, self._since = 0.0, 0, time.monotonic()

    def at(self, step):
        """The arguments of the training program from a step on."""
        if step != self._step:
            self.close()
            self._batches = Batches(self._pieces, step, self._last, workers=self._workers)
            self._placed = streamed_training.placed(self._batches, self._devices)
            self._step = step
        return (self,)

    def __next__(self):
        started = time.monotonic()
        batch = next(self._placed)
        self._waited += time.monotonic() - started
        self._step, self._seen = self._step + 1, self._seen + self._pieces.batch_size
        return batch

    def pace(self):
        """Images a second, of all processes, since the last call, and the share spent waiting."""
        seconds = max(time.monotonic() - self._since, 1e-9)
        pace = {
            "images_per_second": round(self._seen / seconds, 1),
            "waiting": round(self._waited / seconds, 3),
        }
        self._waited, self._seen, self._since = 0.0, 0, time.monotonic()
        return pace

    def close(self):
        """Stops the workers."""
        if self._batches is not None:
            self._batches.close()
        self._step = self._batches = None


def make_feed(settings, part, recipe, devices):
    """What a training is fed with: an object with `at(step)` and `close()`."""
    if isinstance(part, Images):
        return InMemory(part, devices)
    pieces = TrainingPieces(
        part,
        settings.data.random_crop(),
        recipe.batch_size,
        settings.seed,
        devices=len(devices),
        places=own_places(devices),
    )
    return Streamed(pieces, recipe.total_steps, devices, settings.data.workers)


def in_words(pace) -> str:
    """The pace of a feed in words, after a comma; "" where there is none."""
    if not pace:
        return ""
    waiting = f"{100 * pace['waiting']:.0f} % of the time waiting for them"
    return f", {pace['images_per_second']:,.0f} images/s, {waiting}"


def preparation(settings) -> str:
    """How an image becomes the network's input, for those who use the network elsewhere."""
    side, share = settings.data.image_size, settings.data.centre
    return f"the middle square of {share:g} of the shorter side, resized to {side}x{side} pixels"


@contextlib.contextmanager
def one_pass(settings, part, batch_size, devices):
    """Yields the arguments, after the state, of an evaluation of a part.

    `batch_size` is that of a stream, over all devices; it is rounded up to a multiple of them.
    """
    if isinstance(part, Images):
        yield replicate(part, devices)
        return
    batch_size = -(-min(batch_size, part.examples) // len(devices)) * len(devices)
    pieces = EvaluationPieces(
        part,
        settings.data.centre_crop(),
        batch_size,
        devices=len(devices),
        places=own_places(devices),
    )
    with Batches(pieces, workers=settings.data.workers) as batches:
        yield (streamed_training.placed(batches, devices),)

"""Metrics as TensorBoard's event files; TensorFlow is not needed."""

import contextlib
import time

from launch.command import UsageError

# The first of these that a row has is its step; others are counted.
STEPS = ("step", "epoch", "round")


def check_events(config):
    """Raises UsageError where a config asks for event files and nothing can write them."""
    if config.tensorboard:
        try:
            import tensorboardX  # noqa: F401
        except ImportError:
            raise UsageError(
                "config.tensorboard=True needs tensorboardX, as pip install '.[tensorboard]' has it"
            ) from None


@contextlib.contextmanager
def events_of(folder, seconds):
    """Yields `on_row(row)`, which writes a row of metrics: its figures as PHASE/NAME.

    Earlier event files in the folder are removed: `on_row` must see all rows from the first, so
    that a continued job has every step once. A step is the row's own; where a later round or
    supernet counts from the beginning again, its steps follow those before.

    Args:
      folder: where the files go.
      seconds: of the job before this start; rows count their seconds from its beginning.
    """
    from tensorboardX import SummaryWriter

    if folder.is_dir():
        for path in folder.glob("events.out.tfevents.*"):
            path.unlink()
    writer, started, steps = SummaryWriter(logdir=str(folder)), time.time() - seconds, {}

    def on_row(row):
        phase, step = row["phase"], next((row[name] for name in STEPS if name in row), None)
        before, last = steps.get(phase, (0, 0))
        step = last + 1 if step is None else step
        before += last if step <= last else 0
        steps[phase] = before, step
        for name, value in row.items():
            if isinstance(value, int | float) and name not in ("seconds", *STEPS):
                at = before + step, started + row["seconds"]
                writer.add_scalar(f"{phase}/{name}", value, *at)

    with contextlib.closing(writer):
        yield on_row

"""Several processes as one run."""

import contextlib

import jax

from bnao_jax.parallel import from_first
from launch.command import UsageError


@contextlib.contextmanager
def on_first(context):
    """Enters a context on process 0 alone; yields its value there, None on the others.

    A UsageError there is one everywhere.
    """
    with contextlib.ExitStack() as held:
        value, error = None, ""
        if jax.process_index() == 0:
            try:
                value = held.enter_context(context)
            except UsageError as refused:
                error = str(refused)
        if error := from_first({"error": error})["error"]:
            raise UsageError(error)
        yield value

"""The supernet's parts of a benchmark: training steps, scoring, compilation, memory, checkpoints.

Each takes a `Benchmark` and yields `Figure`s.
"""

import contextlib
import functools
import resource
import sys
import tempfile
import time

import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from bnao_jax.checkpoint import Checkpoints
from launch.benchmark.bench import TRAIN_IMAGES, WORTH_TIMING, seconds
from launch.benchmark.programs import Programs
from launch.command import enable_compilation_cache


def train_step(bench):
    """Seconds of a step, and its rate of arithmetic."""
    rows, values = range(len(bench.pool)), []
    programs = bench.traced
    with bench.display.phase("train step", bench.repeats * len(rows), "runs") as advance:
        steps = _steps_worth_timing(programs, bench.batch_size)
        for row in [*rows] * bench.repeats:
            step = functools.partial(programs.step, row, steps)
            values.append((row, seconds(step) / steps))
            advance(1)
    setting = dict(batch=bench.batch_size, architectures=len(rows))
    yield bench.figure("train_step_s", [value for _, value in values], **setting)
    # One product forward and two backward, each a multiplication and an addition.
    work = 3 * 2 * bench.batch_size * bench.cost(bench.pool).macs / 1e9
    rates = [work[row] / value for row, value in values]
    setting |= dict(gflop_of_median_step=round(float(np.median(work)), 1))
    yield bench.figure("train_arithmetic", rates, "GFLOP/s", **setting)


def static_step(bench):
    """Seconds of a step of an architecture's own program, and traced over static."""
    count = min(bench.static, len(bench.pool))
    values, ratios = [], []
    with bench.display.phase("static step", count * bench.repeats, "runs") as advance:
        for row in range(count):
            both = Programs(bench, tuple(int(choice) for choice in bench.pool[row])), bench.traced
            steps = min(_steps_worth_timing(programs, bench.batch_size) for programs in both)
            for _ in range(bench.repeats):
                static, traced = (
                    seconds(functools.partial(programs.step, row, steps)) / steps
                    for programs in both
                )
                values.append(static)
                ratios.append(traced / static)
                advance(1)
    setting = dict(batch=bench.batch_size, architectures=count)
    yield bench.figure("static_step_s", values, **setting)
    yield bench.figure("traced_over_static", ratios, "ratio", **setting)


def _steps_worth_timing(programs, batch_size):
    """Steps of a dispatch that are worth timing, within an epoch."""
    programs.step(0)
    one = seconds(lambda: programs.step(0))
    return int(np.clip(WORTH_TIMING / one, 1, TRAIN_IMAGES // batch_size))


def scoring(bench):
    """Seconds of one architecture on one batch, and architectures scored in a second."""
    settings, rows = bench.settings.scoring, np.arange(len(bench.pool))
    dispatch = rows[: settings.per_dispatch * len(bench.devices)]
    values = bench.repeated("scoring", lambda: bench.traced.score(dispatch))
    each = [value / len(dispatch) for value in values]
    batch = min(settings.batch_size, bench.settings.data.valid_examples)
    yield bench.figure("score_batch_s", each, batch=batch, architectures=len(dispatch))
    images = bench.plan.scored_examples
    rates = [1 / (value * -(-images // batch)) for value in each]
    yield bench.figure("scored_per_s", rates, "1/s", images=images, batch=batch)


def compilation(bench):
    """Seconds from nothing to the compiled training step, cold and warm."""
    cold, warm = [], []
    with bench.display.phase("compile", 2, "runs") as advance, _empty_cache():
        for values in (cold, warm):
            programs = Programs(bench)
            jax.clear_caches()
            started = time.perf_counter()
            programs.compiled_training()
            values.append(time.perf_counter() - started)
            advance(1)
    yield bench.figure("compile_cold_s", cold, batch=bench.batch_size)
    yield bench.figure("compile_warm_s", warm, batch=bench.batch_size)


@contextlib.contextmanager
def _empty_cache():
    """An empty folder for compiled programs in place of the present one."""
    before = jax.config.jax_compilation_cache_dir
    with tempfile.TemporaryDirectory() as folder:
        try:
            enable_compilation_cache(folder)
            compilation_cache.reset_cache()
            yield
        finally:
            jax.config.update("jax_compilation_cache_dir", before)
            compilation_cache.reset_cache()


def memory(bench):
    """Temporary memory of both programs and the most this process used."""
    megabytes = lambda program: program.memory_analysis().temp_size_in_bytes / 1e6
    with bench.display.phase("memory", None, ""):
        train = megabytes(bench.traced.compiled_training())
        bench.traced.score([0])
        score = max(map(megabytes, bench.traced.compiled_scoring()))
    yield bench.figure("train_temporary", [train], "MB", batch=bench.batch_size)
    batch = bench.settings.scoring.batch_size
    yield bench.figure("score_temporary", [score], "MB", batch=batch)
    stats = bench.devices[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        yield bench.figure("peak_of_device", [stats["peak_bytes_in_use"] / 1e6], "MB")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak /= 1e6 if sys.platform == "darwin" else 1e3
    yield bench.figure("peak_of_process", [peak], "MB")


def checkpoint(bench):
    """Seconds that a checkpoint of weights and momentum takes from training, and in all."""
    state, blocking, whole = bench.traced.state, [], []
    with tempfile.TemporaryDirectory() as folder, Checkpoints(folder) as checkpoints:
        for _ in range(bench.repeats):
            started = time.perf_counter()
            tree = jax.tree.map(np.array, state)
            all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree.params))
            checkpoints.save(tree, {})
            blocking.append(time.perf_counter() - started)
            checkpoints.wait()
            whole.append(time.perf_counter() - started)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(tree)) / 1e6
    yield bench.figure("checkpoint_blocking_s", blocking, megabytes=size)
    yield bench.figure("checkpoint_s", whole, megabytes=size)

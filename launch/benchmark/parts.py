"""The benchmark of a search: its parts by name, and their run."""

from bnao_jax import data
from launch.benchmark import controller, kernels, supernet
from launch.benchmark.bench import Benchmark
from launch.benchmark.precision import precision
from launch.command import UsageError, enable_compilation_cache
from launch.measurements import publish

PARTS = {
    "train_step": supernet.train_step,
    "static_step": supernet.static_step,
    "scoring": supernet.scoring,
    "controller": controller.fit,
    "ascent": controller.ascent,
    "augmentation": kernels.augmentation,
    "cost": kernels.cost_table,
    "compile": supernet.compilation,
    "memory": supernet.memory,
    "depthwise": kernels.depthwise,
    "pooling": kernels.pooling,
    "checkpoint": supernet.checkpoint,
    "precision": precision,
}


def run(plan, *, only, lines, architectures, static, repeats, as_table):
    """Measures the parts named in `only` and prints the figures; see `launch.benchmark`."""
    unknown = set(only or ()) - set(PARTS)
    if unknown:
        raise UsageError(f"--only={sorted(unknown)[0]} is not one of {list(PARTS)}")
    bench = Benchmark(plan, lines, architectures, static, repeats)
    enable_compilation_cache(plan.settings.compilation_cache)
    names = only or [name for name in PARTS if name != "precision"]
    parts = [*(PARTS[name] for name in names), projection]
    publish((figure for part in parts for figure in part(bench)), as_table=as_table)


def projection(bench):
    """Seconds of training and scoring in the whole search, where both were measured."""
    measured, settings = bench.measured, bench.settings
    if not {"train_step_s", "score_batch_s"} <= set(measured) or not settings.data.train_examples:
        return
    per_epoch = data.steps_per_epoch(settings.data.train_examples, bench.batch_size)
    steps = settings.search.rounds_that_train * settings.supernet.epochs * per_epoch
    rescored = not settings.supernet.from_scratch
    sizes = settings.search.scored_architectures(rescored=rescored)
    batch = min(settings.scoring.batch_size, bench.plan.scored_examples)
    batches = int(sizes.sum()) * -(-bench.plan.scored_examples // batch)
    spent = steps * measured["train_step_s"] + batches * measured["score_batch_s"]
    yield bench.figure("search_projected_s", [spent], steps=steps, scored_batches=batches)

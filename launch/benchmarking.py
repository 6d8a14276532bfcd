"""The benchmark job: times the parts of a search as a config sizes them."""

import contextlib
import functools
import json
import resource
import statistics
import sys
import tempfile
import time
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental.compilation_cache import compilation_cache
from rich import box
from rich.console import Console
from rich.table import Table

from bnao_jax import controller as nao
from bnao_jax import data, supernet_training
from bnao_jax.checkpoint import Checkpoints
from bnao_jax.nn import shifts
from bnao_jax.parallel import COMPILER_OPTIONS, replicate
from bnao_jax.ranking import kendall_tau
from bnao_jax.strategies.nao import controller_of
from launch import wiring
from launch.command import UsageError, enable_compilation_cache
from launch.progress import Display

TRAIN_IMAGES = 4_096  # random images to train on, at least
COSTS = 100_000  # architectures whose cost is computed
WORTH_TIMING = 0.2  # seconds: shorter work is repeated within a measurement
CONTROLLER_STEPS = 50  # of a measurement


class Figure(NamedTuple):
    """Something measured several times, in `unit`."""

    figure: str
    values: list
    unit: str
    setting: dict

    def row(self):
        """A dict of `figure, median, min, max, repeats, unit, setting`."""
        spread = dict(median=statistics.median(self.values), min=min(self.values))
        spread |= dict(max=max(self.values), repeats=len(self.values))
        return {"figure": self.figure, **spread, "unit": self.unit, "setting": self.setting}


def run(config, *, only, lines, architectures, static, repeats, as_table):
    """Measures the parts named in `only` and prints the figures; see `launch.benchmark`."""
    wiring.check(config)
    unknown = set(only or ()) - set(PARTS)
    if unknown:
        raise UsageError(f"--only={sorted(unknown)[0]} is not one of {list(PARTS)}")
    job = Benchmark(config, lines, architectures, static, repeats)
    enable_compilation_cache(config.compilation_cache)
    rows = []
    parts = [PARTS[name] for name in only or [name for name in PARTS if name != "precision"]]
    for part in [*parts, Benchmark.projection]:
        for figure in part(job):
            rows.append(figure.row())
            if not as_table:
                print(json.dumps(rows[-1]), flush=True)
    if as_table:
        print(markdown(rows))
    show(rows)


def markdown(rows) -> str:
    """The rows as a Markdown table."""
    lines = ["| figure | median | min | max | repeats | unit |", "|---|---|---|---|---|---|"]
    for row in rows:
        numbers = (f"{row[name]:.4g}" for name in ("median", "min", "max"))
        cells = row["figure"], *numbers, str(row["repeats"]), row["unit"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def show(rows):
    """Prints the rows as a table on standard error."""
    table = Table(title="Benchmark", box=box.SIMPLE, padding=0)
    table.add_column("figure", overflow="fold")
    for name in ("median", "min", "max", "repeats"):
        table.add_column(name, justify="right")
    table.add_column("unit")
    for row in rows:
        numbers = (f"{row[name]:.4g}" for name in ("median", "min", "max", "repeats"))
        table.add_row(row["figure"], *numbers, row["unit"])
    Console(stderr=True).print(table)


def seconds(function, times=1) -> float:
    """Seconds that one of so many calls takes, its results computed."""
    started = time.perf_counter()
    for _ in range(times):
        jax.block_until_ready(function())
    return (time.perf_counter() - started) / times


def enough(function) -> int:
    """How many calls are worth timing; the first call compiles and is not counted."""
    seconds(function)
    return max(1, int(WORTH_TIMING / seconds(function)))


class Benchmark:
    """What is measured: programs of one config on random images."""

    def __init__(self, config, lines, architectures, static, repeats):
        shape, classes = wiring.form(config)
        self.config, self.static, self.repeats = config, static, repeats
        self.outline = wiring.make_outline(config, classes)
        self.space = self.outline.space
        if lines is None:
            self.pool = self.space.sample(jax.random.key(config.seed), architectures)
        else:
            self.pool = wiring.named("--archs", self.space.parse_lines, lines)
            if not len(self.pool):
                raise UsageError("--archs holds no architecture")
        self.cost = wiring.make_cost(config, self.outline, shape)
        self.devices = wiring.make_devices(config)
        self.images = _random_images(config, shape, classes)
        device = self.devices[0]
        self.setting = {
            **dict(device=f"{len(self.devices)} {device.platform} {device.device_kind}"),
            **dict(jax=jax.__version__, dtype=config.network.dtype),
            **dict(channels=config.network.channels, cells=config.network.cells),
        }
        self.display = Display()
        self._measured = {}

    def figure(self, name, values, unit="s", **setting):
        """A `Figure` in this benchmark's setting, remembered for what is computed of it."""
        self._measured[name] = statistics.median(values)
        return Figure(name, values, unit, self.setting | setting)

    def repeated(self, title, function, times=None):
        """`repeats` values of seconds for one call of `function`."""
        with self.display.phase(title, self.repeats, "runs") as advance:
            times = enough(function) if times is None else times
            values = []
            for _ in range(self.repeats):
                values.append(seconds(function, times))
                advance(1)
        return values

    # Training and scoring.

    @functools.cached_property
    def traced(self):
        """Weights, training and scoring of the one program for all architectures."""
        return self.programs()

    def programs(self, only=None):
        """Initial weights, a `step` and a `score` function of rows of the pool."""
        made = wiring.make_supernet(self.config, self.outline, self.images, self.devices, only)
        train, recipe, evaluate = made
        params = wiring.initial_weights(self.config, self.outline, self.images)
        params = jax.device_get(params)  # training takes the memory of the device's copy
        part = data.split(self.images, self.config.data.valid_examples, seed=0)
        config = self.config
        material = replicate(
            wiring.make_material(
                *(config, self.space, part[0], self.pool, self.cost(self.pool).params),
                len(self.pool),
            ),
            self.devices,
        )
        state = [replicate(supernet_training.initial_state(recipe, params), self.devices)]
        key = replicate(jax.random.key(0), self.devices)

        def arguments(row, steps):
            weights = np.where(np.arange(len(self.pool)) == row, 0.0, -np.inf).astype(np.float32)
            own = material._replace(log_weights=weights)
            return state[0]._replace(step=np.int32(0)), own, key, np.int32(steps)

        def step(row, steps=1):
            state[0], report = train(*arguments(row, steps))
            return report.loss

        count = self.config.scoring.batch_size
        valid = replicate(tuple(part[1][n][:count] for n in range(2)), self.devices)
        calibration = part[0].images[: self.config.scoring.calibration_images]

        def score(rows):
            return evaluate(params, self.pool[np.asarray(rows)], valid, calibration).accuracy

        compiled = lambda: train.program(*arguments(0, 1))
        scoring_programs = lambda: list(evaluate.program.programs.values())
        return _Programs(step, score, compiled, scoring_programs, lambda: state[0])

    def steps_worth_timing(self, programs):
        """Steps of a dispatch that are worth timing, within an epoch."""
        programs.step(0)
        one = seconds(lambda: programs.step(0))
        return int(np.clip(WORTH_TIMING / one, 1, TRAIN_IMAGES // self.batch_size))

    @property
    def batch_size(self):
        return self.config.supernet.batch_size

    def train_step(self):
        """Seconds of a step, and its rate of arithmetic."""
        programs, rows, values = self.traced, range(len(self.pool)), []
        with self.display.phase("train step", self.repeats * len(rows), "runs") as advance:
            steps = self.steps_worth_timing(programs)
            for row in [*rows] * self.repeats:
                step = functools.partial(programs.step, row, steps)
                values.append((row, seconds(step) / steps))
                advance(1)
        setting = dict(batch=self.batch_size, architectures=len(rows))
        yield self.figure("train_step_s", [value for _, value in values], **setting)
        work = 3 * 2 * self.batch_size * self.cost(self.pool).macs / 1e9  # forward and two backward
        rates = [work[row] / value for row, value in values]
        setting |= dict(gflop_of_median_step=round(float(np.median(work)), 1))
        yield self.figure("train_arithmetic", rates, "GFLOP/s", **setting)

    def static_step(self):
        """Seconds of a step of an architecture's own program, and traced over static."""
        count = min(self.static, len(self.pool))
        values, ratios = [], []
        with self.display.phase("static step", count * self.repeats, "runs") as advance:
            for row in range(count):
                alone = self.programs(tuple(int(choice) for choice in self.pool[row]))
                steps = min(self.steps_worth_timing(p) for p in (alone, self.traced))
                for _ in range(self.repeats):
                    one, all_ = (
                        seconds(functools.partial(programs.step, row, steps)) / steps
                        for programs in (alone, self.traced)
                    )
                    values.append(one)
                    ratios.append(all_ / one)
                    advance(1)
        setting = dict(batch=self.batch_size, architectures=count)
        yield self.figure("static_step_s", values, **setting)
        yield self.figure("traced_over_static", ratios, "ratio", **setting)

    def scoring(self):
        """Seconds of one architecture on one batch, and architectures scored in a second."""
        rows = np.arange(len(self.pool))
        dispatch = rows[: self.config.scoring.per_dispatch * len(self.devices)]
        values = self.repeated("scoring", lambda: self.traced.score(dispatch))
        each = [value / len(dispatch) for value in values]
        batch = min(self.config.scoring.batch_size, self.config.data.valid_examples)
        yield self.figure("score_batch_s", each, batch=batch, architectures=len(dispatch))
        images = wiring.scored_examples(self.config)
        rates = [1 / (value * -(-images // batch)) for value in each]
        yield self.figure("scored_per_s", rates, "1/s", images=images, batch=batch)

    # The controller.

    @functools.cached_property
    def controller(self):
        """The controller of the search space."""
        return controller_of(self.space)

    def tokens(self, count):
        """Random token sequences."""
        pool = self.space.random(jax.random.key(1), count)
        return np.asarray(self.space.to_tokens(pool))

    def controller_fit(self):
        """Seconds of a step of the fit, and of the whole fit of the first round's pool."""
        settings = self.config.nao
        rows = CONTROLLER_STEPS * settings.batch_size
        tokens, targets = self.tokens(rows), np.linspace(0, 1, rows, dtype=np.float32)
        rates = dict(learning_rate=settings.learning_rate, trade_off=settings.trade_off)
        fit = functools.partial(
            nao.fit, self.controller, jax.random.key(0), tokens, targets, epochs=1, **rates
        )
        values = self.repeated("controller", lambda: fit(batch_size=settings.batch_size)[0])
        values = [value / CONTROLLER_STEPS for value in values]
        yield self.figure("controller_step_s", values, batch=settings.batch_size)
        pool = round(self.config.search.seeds * (1 - settings.held_out))
        steps = settings.epochs * -(-pool * settings.exchanges // settings.batch_size)
        whole = [value * steps for value in values]
        yield self.figure("controller_fit_projected_s", whole, steps=steps, architectures=pool)

    def ascent(self):
        """Seconds of one ascent with decoding."""
        count = self.config.nao.seeds
        tokens, params = self.tokens(count), nao.init(self.controller, jax.random.key(0))
        move = lambda: nao.ascend(self.controller, params, tokens, 1.0)
        yield self.figure("ascent_decode_s", self.repeated("ascent", move), rows=count)

    def projection(self):
        """Seconds of training and scoring in the whole search, where both were measured."""
        measured, config = self._measured, self.config
        if not {"train_step_s", "score_batch_s"} <= set(measured) or not config.data.train_examples:
            return
        per_epoch = data.steps_per_epoch(config.data.train_examples, self.batch_size)
        steps = wiring.trained_rounds(config) * config.supernet.epochs * per_epoch
        sizes = wiring.scored_architectures(config)
        batch = min(config.scoring.batch_size, wiring.scored_examples(config))
        batches = int(sizes.sum()) * -(-wiring.scored_examples(config) // batch)
        spent = steps * measured["train_step_s"] + batches * measured["score_batch_s"]
        yield self.figure("search_projected_s", [spent], steps=steps, scored_batches=batches)

    # Data, costs.

    def augmentation(self):
        """Seconds of augmenting a batch."""
        augment = jax.jit(wiring.make_augmentation(self.config, self.images))
        keys = jax.random.split(jax.random.key(0), self.batch_size)
        batch = jax.device_put(self.images.train_images[: self.batch_size])
        values = self.repeated("augmentation", lambda: augment(keys, batch))
        yield self.figure("augmentation_s", values, batch=self.batch_size)

    def cost_table(self):
        """Seconds of computing costs."""
        pool = np.asarray(self.space.random(jax.random.key(0), COSTS))
        values = self.repeated("cost", lambda: self.cost(pool), times=1)
        yield self.figure("cost_table_s", values, architectures=COSTS)

    # Compiler and memory.

    def compilation(self):
        """Seconds from nothing to the compiled training step, cold and warm."""
        cold, warm = [], []
        with self.display.phase("compile", 2, "runs") as advance:
            with _cache_folder():
                for values in (cold, warm):
                    compiled = self.programs().compiled
                    jax.clear_caches()
                    started = time.perf_counter()
                    compiled()
                    values.append(time.perf_counter() - started)
                    advance(1)
        yield self.figure("compile_cold_s", cold, batch=self.batch_size)
        yield self.figure("compile_warm_s", warm, batch=self.batch_size)

    def memory(self):
        """Temporary memory of both programs and the most this process used."""
        megabytes = lambda program: program.memory_analysis().temp_size_in_bytes / 1e6
        with self.display.phase("memory", None, ""):
            train = megabytes(self.traced.compiled())
            self.traced.score([0])
            score = max(megabytes(program) for program in self.traced.scoring_programs())
        yield self.figure("train_temporary", [train], "MB", batch=self.batch_size)
        batch = self.config.scoring.batch_size
        yield self.figure("score_temporary", [score], "MB", batch=batch)
        stats = self.devices[0].memory_stats() or {}
        if "peak_bytes_in_use" in stats:
            yield self.figure("peak_of_device", [stats["peak_bytes_in_use"] / 1e6], "MB")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        yield self.figure(
            "peak_of_process", [peak / (1e6 if sys.platform == "darwin" else 1e3)], "MB"
        )

    def depthwise(self):
        """Seconds of a 5x5 depthwise convolution of the first stage with its gradients."""
        c, (h, w, _) = self.config.network.channels, self.images.image_shape
        rng = np.random.default_rng(0)
        dtype = wiring.DTYPES[self.config.network.dtype]
        x = jax.device_put(rng.normal(size=(c, h, w, self.batch_size)).astype(dtype))
        kernel = jax.device_put(rng.normal(size=(c, 5, 5)).astype(dtype))
        platform = self.devices[0].platform
        for name, (forward, backward) in shifts.FORMS.items():

            @functools.partial(jax.jit, compiler_options=COMPILER_OPTIONS.get(platform))
            def both(x, kernel, forward=forward, backward=backward):
                y = forward(1, 1, True, x, kernel)
                return y, backward(1, 1, True, x, kernel, y)

            values = self.repeated(f"depthwise, {name}", functools.partial(both, x, kernel))
            own = {"chosen": shifts.FORM_ON.get(platform) == name}
            yield self.figure(f"depthwise_{name}_s", values, batch=self.batch_size, **own)

    def pooling(self):
        """Seconds of both poolings of the first stage with their gradients, and of one pass."""
        c, (h, w, _) = self.config.network.channels, self.images.image_shape
        dtype = wiring.DTYPES[self.config.network.dtype]
        x = np.random.default_rng(0).normal(size=(c, h, w, self.batch_size)).astype(dtype)
        x, options = jax.device_put(x), COMPILER_OPTIONS.get(self.devices[0].platform)
        for name, pool in (("max", shifts.max_pool), ("average", shifts.average_pool)):

            @functools.partial(jax.jit, compiler_options=options)
            def both(x, pool=pool):
                y, gradient = jax.vjp(pool, x)
                return y, gradient(y)

            values = self.repeated(f"{name} pooling", functools.partial(both, x))
            yield self.figure(f"{name}_pooling_s", values, batch=self.batch_size)
        values = self.repeated("pass", functools.partial(jax.jit(lambda x: 2 * x), x))
        yield self.figure("pass_s", values, batch=self.batch_size, megabytes=2 * x.nbytes / 1e6)

    # Checkpoints.

    def checkpoint(self):
        """Seconds that a checkpoint of weights and momentum takes from training, and in all."""
        state = self.traced.state()
        blocking, whole = [], []
        with tempfile.TemporaryDirectory() as folder, Checkpoints(folder) as checkpoints:
            for _ in range(self.repeats):
                started = time.perf_counter()
                tree = jax.tree.map(np.array, state)
                all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree.params))
                checkpoints.save(tree, {})
                blocking.append(time.perf_counter() - started)
                checkpoints.wait()
                whole.append(time.perf_counter() - started)
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(tree)) / 1e6
        yield self.figure("checkpoint_blocking_s", blocking, megabytes=size)
        yield self.figure("checkpoint_s", whole, megabytes=size)

    # Precision.

    def precision(self):
        """Kendall's tau between scores of one pool in float32 and in bfloat16."""
        config = self.config
        images = wiring.load_data(config)
        wiring.check_data(config, images)
        parts = wiring.split_data(config, images)
        valid = tuple(part[: wiring.scored_examples(config)] for part in parts[1])
        pool = self.space.sample(jax.random.key(config.seed), config.search.seeds)
        scores, trained = {}, None
        for dtype in ("float32", "bfloat16"):
            config = config.copy_and_resolve_references()
            config.network.dtype = dtype
            made = wiring.make_supernet(config, self.outline, images, self.devices)
            train, recipe, evaluate = made
            if trained is None:
                params = wiring.initial_weights(config, self.outline, images)
                trained = self._trained(params, train, recipe, parts[0], pool)
            calibration = parts[0].images[: config.scoring.calibration_images]
            with self.display.phase(f"score in {dtype}", len(pool), "architectures") as advance:
                counted = lambda found: advance(len(found.loss))
                scores[dtype] = evaluate(trained, pool, valid, calibration, progress=counted)
        steps = recipe.total_steps
        for field in ("accuracy", "loss"):
            tau = kendall_tau(*(getattr(scores[dtype], field) for dtype in scores))
            setting = dict(steps=steps, architectures=len(pool), images=len(valid[1]))
            yield self.figure(f"bfloat16_tau_of_{field}", [tau], "tau b", **setting)
        found = scores["float32"].accuracy, scores["bfloat16"].accuracy
        change = [float(np.abs(found[0] - found[1]).max())]
        yield self.figure("bfloat16_largest_change", change, "accuracy", spread=_spread(found[0]))

    def _trained(self, params, train, recipe, part, pool):
        material = wiring.make_material(
            *(self.config, self.space, part, pool, self.cost(pool).params, len(pool))
        )
        material = replicate(material, self.devices)
        key = jax.random.key(self.config.seed)
        state = supernet_training.initial_state(recipe, params)
        per_epoch = data.steps_per_epoch(len(part.labels), recipe.batch_size)
        with self.display.phase("train", recipe.total_steps, "steps") as advance:
            for _ in range(recipe.total_steps // per_epoch):
                state, report = train(state, material, key, np.int32(per_epoch))
                advance(per_epoch, f"loss {float(report.loss):.3f}")
        return state.params


class _Programs(NamedTuple):
    step: object  # of a row of the pool and a number of steps
    score: object  # of rows of the pool
    compiled: object  # gives the compiled training step
    scoring_programs: object  # gives those of scoring that were used
    state: object  # gives the training state


def _random_images(config, shape, classes):
    """Images nobody drew, as many as the config's programs need."""
    rng = np.random.default_rng(0)
    valid = config.data.valid_examples
    count = max(TRAIN_IMAGES, config.supernet.batch_size, config.final.batch_size) + valid
    images = rng.integers(0, 256, (count, *shape), np.uint8)
    labels = rng.integers(0, classes, count, np.int32)
    none = images[:0], labels[:0]
    return data.ImageData("random", images, labels, np.arange(count), *none, classes)


def _spread(scores):
    return round(float(np.std(scores)), 4)


@contextlib.contextmanager
def _cache_folder():
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


PARTS = {
    "train_step": Benchmark.train_step,
    "static_step": Benchmark.static_step,
    "scoring": Benchmark.scoring,
    "controller": Benchmark.controller_fit,
    "ascent": Benchmark.ascent,
    "augmentation": Benchmark.augmentation,
    "cost": Benchmark.cost_table,
    "compile": Benchmark.compilation,
    "memory": Benchmark.memory,
    "depthwise": Benchmark.depthwise,
    "pooling": Benchmark.pooling,
    "checkpoint": Benchmark.checkpoint,
    "precision": Benchmark.precision,
}

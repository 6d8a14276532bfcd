"""Tells what a search space holds, what architectures cost, and how long they take.

    python -m launch.inspect --config=configs/cifar.py --space --config.search.max_params=600000
    python -m launch.inspect --config=configs/cifar.py --arch=naonet_v2 --picture=cells.svg
    python -m launch.inspect --config=configs/cifar.py --archs=FILE
    echo "1 1 0 1 2 4 …" | python -m launch.inspect --config=configs/cifar.py --archs=-
    python -m launch.inspect --config=configs/cifar.py --random=40 --latency > latencies.jsonl

Flags:
  --config=FILE[:VARIANT]   the experiment that names space, width, depth and image size
  --config.FIELD=VALUE      changes one of its fields, for example --config.network.channels=36
  --space                   prints what random architectures cost, and the share of them within
                            the limits of config.search, before any search
  --samples=N               random architectures for that; 10,000 by default
  --arch=WHAT               prints one architecture layer by layer. WHAT is its text, a file, the
                            folder of a search, or a published name
  --picture=FILE            draws its cells; FILE ends in .svg, .png or .pdf
  --archs=FILE              architectures, one a line; "-" reads standard input
  --random=N                so many random ones instead
  --latency                 measures each, compiled and warm, on the first device: each takes
                            seconds to compile. A search reads the output as a table:
                            --config.search.latencies=FILE --config.search.max_latency=SECONDS
  --batch_sizes=N,N         of images, for --latency; 1 by default
  --repeats=N               runs that are timed

With --archs and --random it prints one JSON object a line: arch, params (without auxiliary head),
macs (multiply-adds of the convolutions and the linear layer for one image), latency (of each batch
size the median, min and max in seconds, and the device).
"""

import json
import sys

from absl import flags

from launch import command

RANDOM = flags.DEFINE_integer(
    "random",
    None,
    "Number of random architectures.",
    lower_bound=1,
    upper_bound=100_000,
)
LATENCY = flags.DEFINE_bool("latency", False, "Whether to measure how long each takes.")
BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["1"], "Batch sizes, for --latency.")
REPEATS = flags.DEFINE_integer("repeats", 20, "Runs that are timed.", lower_bound=1)
ARCHS = flags.DEFINE_string("archs", None, 'File of architectures, one a line; "-": standard input')
SPACE = flags.DEFINE_bool("space", False, "Whether to show what the whole space costs.")
SAMPLES = flags.DEFINE_integer(
    "samples",
    10_000,
    "Random architectures of the space.",
    lower_bound=1,
    upper_bound=1_000_000,
)
ARCH = flags.DEFINE_string("arch", None, "One architecture, layer by layer.")
PICTURE = flags.DEFINE_string("picture", None, "File for a picture of it.")
CLASSES = 10  # where a config has no images


def main():
    """Prints the costs of the architectures that the flags name."""
    config = command.required(command.CONFIG, "configs/cifar.py")
    which = (ARCHS.value, RANDOM.value, ARCH.value, SPACE.value or None)
    if sum(one is not None for one in which) != 1:
        raise command.UsageError(
            "--archs=FILE, --random=N, --arch=WHAT or --space says which architectures; one of them"
        )
    if PICTURE.value and ARCH.value is None:
        raise command.UsageError("--picture goes with --arch")
    batches = [_batch(text) for text in BATCH_SIZES.value]
    from launch.config.plan import IMAGES, read
    from launch.inspect import tables

    tables.check_picture(PICTURE.value)
    plan = read(config, own=True)
    shape, classes = plan.form() if plan.settings.data is not None else (IMAGES, CLASSES)
    space = plan.space(classes, shape)
    if SPACE.value:
        tables.show_space(plan, space, shape, SAMPLES.value)
    elif ARCH.value is not None:
        _show_one(plan, space, shape)
    else:
        _print_all(plan, space, shape, batches)


def _show_one(plan, space, shape):
    from launch.inputs import architectures
    from launch.inspect import tables

    architecture = space.decisions.parse(architectures.named(plan, ARCH.value))
    if PICTURE.value:
        tables.draw_cells(space, architecture, PICTURE.value)
    tables.show_layers(space, shape, architecture)


def _print_all(plan, space, shape, batches):
    from launch.config.plan import named
    from launch.inspect import latency
    from launch.run.progress import Display

    decisions = space.decisions
    if RANDOM.value:
        pool = named("--random", decisions.sample, plan.key, RANDOM.value)
    else:
        lines = command.read_lines(ARCHS)
        pool = named(f"--archs={ARCHS.value}", decisions.parse_lines, lines)
    cost = space.cost(pool, shape)
    display = Display(quiet=not LATENCY.value)
    with display.phase("inspect", len(pool), "architectures") as advance:
        for architecture, params, macs in zip(pool, cost.params, cost.macs, strict=True):
            row = {"arch": decisions.format(architecture), "params": int(params), "macs": int(macs)}
            if LATENCY.value:
                row["latency"] = latency.measured(
                    plan, space, shape, architecture, batches, REPEATS.value
                )
            print(json.dumps(row), flush=True)
            advance(1)


def _batch(text):
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) < 2**31):
        raise command.UsageError(f"--batch_sizes={text} is no batch size")
    return int(text)


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))

"""Tells what architectures cost, and how long they take.

    python -m launch.inspect --config=configs/cifar.py --archs=FILE
    echo "1 1 0 1 2 4 …" | python -m launch.inspect --config=configs/cifar.py --archs=-
    python -m launch.inspect --config=configs/cifar.py --random=40 --latency > latencies.jsonl

Flags:
  --config=FILE[:VARIANT]   the experiment that names space, width, depth and image size
  --config.FIELD=VALUE      changes one of its fields, for example --config.network.channels=36
  --archs=FILE              architectures, one a line; "-" reads standard input
  --random=N                so many random ones instead
  --latency                 measures each, compiled and warm, on the first device: each takes
                            seconds to compile. A search reads the output as a table:
                            --config.search.latencies=FILE --config.search.max_latency=SECONDS
  --batch_sizes=N,N         of images, for --latency; 1 by default
  --repeats=N               runs that are timed

Prints one JSON object a line: arch, params (without auxiliary head), macs (multiply-adds of the
convolutions and the linear layer for one image), latency (of each batch size the median, min and
max in seconds, and the device).
"""

import json
import sys

from absl import flags

from launch import command

RANDOM = flags.DEFINE_integer("random", None, "Number of random architectures.", lower_bound=1)
LATENCY = flags.DEFINE_bool("latency", False, "Whether to measure how long each takes.")
BATCH_SIZES = flags.DEFINE_list("batch_sizes", ["1"], "Batch sizes, for --latency.")
REPEATS = flags.DEFINE_integer("repeats", 20, "Runs that are timed.", lower_bound=1)
ARCHS = flags.DEFINE_string("archs", None, 'File of architectures, one a line; "-": standard input')


def main():
    """Prints the cost of the architectures that the flags name."""
    config = command.required(command.CONFIG, "configs/cifar.py")
    if (ARCHS.value is None) == (RANDOM.value is None):
        raise command.UsageError("--archs=FILE or --random=N says which architectures; one of them")
    batches = [_batch(text) for text in BATCH_SIZES.value]
    from launch import fields, latencies, wiring
    from launch.progress import Display

    fields.check_fields(config, fields.job_of(config))
    shape, classes = wiring.form(config)
    outline = wiring.make_outline(config, classes)
    space = outline.space
    if RANDOM.value:
        pool = wiring.named("--random", space.sample, wiring.key_of(config), RANDOM.value)
    else:
        lines = command.read_lines(ARCHS)
        pool = wiring.named(f"--archs={ARCHS.value}", space.parse_lines, lines)
    found = wiring.make_cost(config, outline, shape)(pool)
    display = Display(quiet=not LATENCY.value)
    with display.phase("inspect", len(pool), "architectures") as advance:
        for architecture, params, macs in zip(pool, found.params, found.macs, strict=True):
            row = {"arch": space.format(architecture), "params": int(params), "macs": int(macs)}
            if LATENCY.value:
                measured = (config, outline, shape, architecture, batches, REPEATS.value)
                row["latency"] = latencies.measured(*measured)
            print(json.dumps(row), flush=True)
            advance(1)


def _batch(text):
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) < 2**31):
        raise command.UsageError(f"--batch_sizes={text} is no batch size")
    return int(text)


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))

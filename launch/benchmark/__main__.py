"""Measures how fast the parts of a search run on this machine.

    python -m launch.benchmark
    python -m launch.benchmark --only=train_step,scoring --config.supernet.batch_size=256
    python -m launch.benchmark --config=configs/quickstart.py --only=precision

Flags:
  --config=FILE[:VARIANT]   the experiment whose sizes are measured; configs/cifar.py by default
  --config.FIELD=VALUE      changes one of its fields
  --only=PART,PART          parts to measure (below); all but precision by default
  --archs=FILE              architectures to time, one a line; "-" reads standard input; random ones
                            otherwise
  --architectures=12        how many random ones
  --static=3                how many of them are also compiled alone, for static_step
  --repeats=3               how often everything is timed
  --table                   prints a Markdown table instead of JSON lines

Parts:
  train_step    one supernet training step, one program for all architectures
  static_step   the same step by the program of one architecture alone, in turn with the former
  scoring       one architecture on one batch of validation images, with shared weights
  controller    a step of the controller's fit, and what the whole fit would take
  ascent        one ascent of the best architectures in the embedding, decoded
  augmentation  one batch
  cost          parameters and multiply-adds of 100,000 architectures
  compile       the training step, with an empty and with a filled compilation cache
  memory        temporary memory of the programs, and the most this process used
  depthwise     both forms of a depthwise convolution with its gradients
  pooling       both poolings with their gradients, beside one pass over the same memory
  checkpoint    one checkpoint: the time that training waits for it, and all of it
  precision     Kendall's tau between scores of one pool in float32 and bfloat16, after one round of
                training on the config's data

Of a training on streamed images, --config=configs/imagenet_train.py, there are two other parts:
  pipeline      images a second that the host makes ready of the config's data, with threads and
                with the config's workers, and for each second of a core
  consumption   images a second that training takes, on random images on the devices

Prints one JSON object a line on standard output: figure, median, min, max, repeats, unit, setting;
the same as a table on standard error at the end. All but precision runs on random images.
"""

import sys

from absl import flags

from launch import command

ONLY = flags.DEFINE_list("only", None, "Parts to measure.")
ARCHS = flags.DEFINE_string("archs", None, "File of architectures to time, one a line.")
ARCHITECTURES = flags.DEFINE_integer("architectures", 12, "Random architectures to time.")
STATIC = flags.DEFINE_integer("static", 3, "Architectures that are also compiled alone.")
REPEATS = flags.DEFINE_integer("repeats", 3, "How often everything is timed.")
TABLE = flags.DEFINE_bool("table", False, "Print a Markdown table.")
MOST = 100_000  # architectures or repeats


def main():
    """Measures what the flags name."""
    for flag in (ARCHITECTURES, STATIC, REPEATS):
        if not 1 <= flag.value <= MOST:
            rule = f"must be at least 1 and at most {MOST}"
            raise command.UsageError(f"--{flag.name}={flag.value} {rule}")
    config = command.CONFIG.value
    from launch.benchmark import parts, pipeline
    from launch.config.plan import plan

    lines = None if ARCHS.value is None else command.read_lines(ARCHS)
    job = plan(config, "search", "train")
    if job.settings.job == "train":
        pipeline.run(
            job,
            only=ONLY.value,
            lines=lines,
            repeats=REPEATS.value,
            as_table=TABLE.value,
        )
        return
    parts.run(
        job,
        only=ONLY.value,
        lines=lines,
        architectures=ARCHITECTURES.value,
        static=STATIC.value,
        repeats=REPEATS.value,
        as_table=TABLE.value,
    )


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__, config="configs/cifar.py"))

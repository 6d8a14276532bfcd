"""Tells what architectures cost.

    python -m launch.inspect --config=configs/cifar.py --archs=FILE
    echo "1 1 0 1 2 4 …" | python -m launch.inspect --config=configs/cifar.py --archs=-

Flags:
  --config=FILE[:VARIANT]   the experiment that names space, width, depth and image size
  --config.FIELD=VALUE      changes one of its fields, for example --config.network.channels=36
  --archs=FILE              architectures, one a line; "-" reads standard input

Prints one JSON object a line: arch, params (without auxiliary head), macs (multiply-adds of the
convolutions and the linear layer for one image).
"""

import json
import sys

from absl import flags

from launch import command

ARCHS = flags.DEFINE_string("archs", None, 'File of architectures, one a line; "-": standard input')


def main():
    """Prints the cost of the architectures that the flags name."""
    config = command.required(command.CONFIG, "configs/cifar.py")
    path = command.required(ARCHS, "pool.txt")
    from launch import fields, wiring

    fields.check_fields(config, fields.job_of(config))
    shape, classes = wiring.form(config)
    outline = wiring.make_outline(config, classes)
    lines = command.read_lines(ARCHS)
    pool = wiring.named(f"--archs={path}", outline.space.parse_lines, lines)
    found = wiring.make_cost(config, outline, shape)(pool)
    for architecture, params, macs in zip(pool, found.params, found.macs, strict=True):
        row = {"arch": outline.space.format(architecture), "params": int(params), "macs": int(macs)}
        print(json.dumps(row))


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__))

"""Compiles the programs of a search for TPUs and GPUs that are not here, and tells what they take.

    pip install '.[tpu]'       # brings libtpu, whose compiler needs no TPU
    python -m launch.compile --config=configs/cifar.py --topology=v5e:2x4
    python -m launch.compile --topology=v5e:1x1,v5e:2x4,v5e:16x16 --scaling
    python -m launch.compile --topology=v4:2x2x2,v6e:4x4 --config.network.dtype=bfloat16

    pip install '.[cuda12]'    # brings the compiler for CUDA, which needs no GPU and no driver
    python -m launch.compile --config=configs/cifar.py --topology=h100
    python -m launch.compile --topology=h200,a100-40gb --only=train,score

Flags:
  --config=FILE[:VARIANT]     the experiment that is compiled; configs/cifar.py by default
  --config.FIELD=VALUE        changes one of its fields
  --topology=NAME,NAME        TPU generation and chips: v4:2x2x2, v5e:4x4, v5p:2x2x2, v6e:16x16, …;
                              or GPUs: h100, h200, a100, b200, …
  --only=PROGRAM,PROGRAM      train, score, alone; for GPUs fit as well; by default all, for TPUs
                              train and score; with the config of a training alone is all there is
  --scaling                   also projects a search on 1 to 256 chips from the compiled ones; for
                              TPUs

The programs are those of launch.search, made by the same functions and mapped over the chips by the
same pmap, for the data set's size but without its images. Nothing is executed and no cache is used.
The batch is config.supernet.batch_size over all chips, rounded up to a multiple of their number.

For TPUs, prints one JSON object a line on standard output, with the keys of launch.benchmark
(figure, median, min, max, repeats, unit, setting); tables and the assumptions on standard error.
All figures are for one chip; train_* and alone_* for one step, score_* for one architecture on all
validation images:

  compile_s         seconds to trace and compile
  temporary_MB      memory besides arguments and results, as laid out (padded to tiles)
  arguments_MB      memory of weights, momentum, images and pool, as laid out
  arithmetic_GFLOP  convolutions and products of the random architecture of median cost; XLA's own
                    count, which takes the body of every loop once, is in the setting
  collective_MB     results of all-reduces and the like, as laid out
  estimate_s        the compiler's estimate in cycles, at the clock of the generation

For GPUs, prints one JSON object a line for each program: train (a step of the shared weights),
score (one architecture on one batch), fit (a step of the controller's fit), alone (a training step
of the architecture of median cost alone; all there is with the config of a training). Their keys:

  kernels           kernels and copies that are started, averaged over random architectures
  host_waits        how often the host waits for the device, to know how to go on
  graph_launches    CUDA graphs that are started
  gigabytes         read and written by the kernels
  gflop             operations, without those of convolutions
  temporary_mb      memory besides arguments and results
  compile_s         seconds to trace and compile; nothing is tuned, as there is no GPU
  modelled_ms       a model of the time, with constants estimated for an H100; not a measurement
"""

import sys

from absl import flags

from launch import command

TOPOLOGY = flags.DEFINE_list("topology", ["v5e:2x4"], "TPU generations and chips, or GPUs.")
ONLY = flags.DEFINE_list("only", None, "Programs to compile.")
SCALING = flags.DEFINE_bool("scaling", False, "Project a search on 1 to 256 chips.")


def main():
    """Compiles what the flags name."""
    config = command.CONFIG.value
    from launch.compile import job
    from launch.config.plan import read

    plan = read(config, "search", "train", own=True)
    job.run(plan, topologies=TOPOLOGY.value, only=ONLY.value, with_scaling=SCALING.value)


if __name__ == "__main__":
    sys.exit(command.run(main, __doc__, config="configs/cifar.py"))

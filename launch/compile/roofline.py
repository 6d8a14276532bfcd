"""A search on 1 to 256 chips, projected from compiled programs by a plain roofline.

Nothing here was timed on a TPU. `assumptions` says what the projection rests on.
"""

from typing import NamedTuple

import numpy as np

from launch.compile import hlo

CHIPS = tuple(2**n for n in range(9))
HOP_SECONDS = 1e-6  # latency of a link (scaling book, see below)


class Generation(NamedTuple):
    """What a chip of a TPU generation does at its peak.

    Attributes:
      flops: bfloat16 operations a second; float32 products run as bfloat16 by JAX's default.
      memory_bandwidth: bytes a second of HBM.
      link_bandwidth: bytes a second of one interconnect link in one direction.
      clock: cycles a second.
      memory: bytes of HBM.
    """

    flops: float
    memory_bandwidth: float
    link_bandwidth: float
    clock: float
    memory: float


# Google Cloud, "TPU v4", "TPU v5e", "TPU v5p", "TPU v6e", https://cloud.google.com/tpu/docs/v4 and
# so on: peaks, HBM, interconnect (there for all links of a chip, in both directions since 2025;
# v4 and v5p have six, the others four). Austin et al., "How to Scale Your Model", 2025,
# https://jax-ml.github.io/scaling-book/tpus: links, latency. Clocks: peak / (2 x multipliers).
GENERATIONS = {
    "v4": Generation(275e12, 1228e9, 50e9, 1.05e9, 32 * 2**30),
    "v5e": Generation(197e12, 819e9, 50e9, 1.5e9, 16 * 2**30),
    "v5p": Generation(459e12, 2765e9, 100e9, 1.75e9, 95 * 2**30),
    "v6e": Generation(918e12, 1640e9, 100e9, 1.75e9, 32 * 2**30),
}


class Program(NamedTuple):
    """A compiled program on one chip.

    Attributes:
      batch: images on the chip.
      flops: operations of a step, or of one architecture in scoring.
      memory_bytes: bytes that pass HBM at the least: weights and momentum read and written, or
        weights and images read.
      cycles: the compiler's estimate.
      collective_bytes: what takes part in all-reduces.
    """

    batch: int
    flops: float
    memory_bytes: float
    cycles: float
    collective_bytes: float


class Search(NamedTuple):
    """The sizes of a search.

    Attributes:
      batch: `config.supernet.batch_size`.
      examples: images that train.
      epochs: of all rounds together.
      pools: architectures scored in each round.
      path_per_device: whether each chip draws its own path.
    """

    batch: int
    examples: int
    epochs: int
    pools: tuple
    path_per_device: bool


class Row(NamedTuple):
    """A search on so many chips; seconds, `communication` a share of the step."""

    batch_rule: str
    chips: int
    batch: int
    paths: int
    step: float
    communication: float
    steps: int
    search: float


def limits(program, generation):
    """Seconds that arithmetic, memory, and the compiler's cycles would take."""
    return (
        program.flops / generation.flops,
        program.memory_bytes / generation.memory_bandwidth,
        program.cycles / generation.clock,
    )


def compute_seconds(program, generation) -> float:
    """Seconds of a program without communication: the slowest of the limits."""
    return max(limits(program, generation))


def all_reduce_seconds(size, chips, generation) -> float:
    """Seconds of an all-reduce of `size` bytes over one ring of links used in both directions.

    Reduce-scatter and all-gather each pass (n-1)/n of the bytes at twice a link's bandwidth, and
    go half way round: n hops together.
    """
    if chips == 1:
        return 0.0
    passed = 2 * (chips - 1) / chips * size
    return passed / (2 * generation.link_bandwidth) + chips * HOP_SECONDS


def at_batch(programs, batch, generation) -> float:
    """Seconds of computation at a batch on the chip, from programs compiled at other batches.

    Linear between them; below the smallest constant, above the largest proportional.
    """
    points = sorted((p.batch, compute_seconds(p, generation)) for p in programs)
    batches, seconds = zip(*points, strict=True)
    return float(np.interp(batch, batches, seconds)) * max(1.0, batch / batches[-1])


def project(training, scoring, search, generation):
    """Yields a `Row` for each number of chips and rule of the batch.

    Args:
      training: `Program`s of the training step, at different batches on the chip.
      scoring: the `Program` of scoring one architecture.
      search: the `Search`.
      generation: the `Generation`.
    """
    collective = max(program.collective_bytes for program in training)
    score = compute_seconds(scoring, generation)
    for rule in ("kept", "per chip"):
        for chips in CHIPS:
            batch = max(search.batch, chips) if rule == "kept" else search.batch * chips
            if batch > search.examples:
                continue
            compute = at_batch(training, batch // chips, generation)
            communication = all_reduce_seconds(collective, chips, generation)
            step = compute + communication
            steps = search.epochs * (search.examples // batch)
            scored = sum(-(-count // chips) for count in search.pools)
            paths = chips if search.path_per_device else 1
            spent = steps * step + scored * score
            yield Row(rule, chips, batch, paths, step, communication / step, steps, spent)


def assumptions(training, generation):
    """What a projection rests on, one line each."""
    yield "Projected, not timed: no TPU has run this."
    yield (
        "Step = the slowest of FLOPs / peak, weights and momentum through HBM, the compiler's "
        "cycles / clock; then communication, none of it hidden."
    )
    for program in sorted(training):
        flops, memory, cycles = (1e3 * seconds for seconds in limits(program, generation))
        yield (
            f"These are {flops:.2g}, {memory:.2g} and {cycles:.3g} ms at {program.batch} images a "
            "chip, as compiled; linear between, constant below, proportional above."
        )
    yield (
        "Cycles: mean over the branches of a choice; a loop whose length depends on the "
        f"architecture counts {hlo.UNKNOWN_ROUNDS} rounds; what the compiler does not estimate "
        "counts as nothing."
    )
    yield (
        "Communication: one all-reduce of all gradients, padded to tiles, over one bidirectional "
        "ring inside a slice, 1 microsecond a hop."
    )
    yield (
        "Batch kept: config.supernet.batch_size over all chips until each has one image, then one "
        "a chip. Batch per chip: it grows with the chips, the learning rate as it is; what that "
        "does to the search has not been tried."
    )
    yield (
        "Steps: the same epochs. Search: training and scoring; without controller, final training, "
        "reading data, compilation and the host's part of a dispatch."
    )

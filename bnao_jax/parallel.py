"""The mapping over devices, in one place: `jax.pmap` with the state unstacked.

Arguments are the same on all devices but for the mapped ones, whose leading axis is divided; so no
state has a leading device axis and no result needs `x[0]`.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "devices"
# On a CPU a sum in the order of the source cannot use vector instructions. Reassociation lets it;
# NaN and infinity keep their meaning.
COMPILER_OPTIONS = {"cpu": {"xla_cpu_enable_fast_math": True}}


def replicate(tree, devices):
    """Puts a copy of every leaf on each local device; free where it is there already."""
    everywhere = NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec())
    return jax.device_put(tree, everywhere)


def over_devices(function, devices, *, mapped=(), mapped_out=False, donate=()):
    """Returns `function(…)` compiled for the local `devices`, in parallel.

    Args:
      function: function of positional arguments. Inside, `AXIS` names the devices.
      devices: list of local devices.
      mapped: positions of arguments `[len(devices), …]` of which each device gets a row.
      mapped_out: whether results are stacked over devices, or equal on all of them.
      donate: positions of arguments whose memory the results may take.

    Returns:
      the function. Its attribute `program(*arguments)` gives the `jax.stages.Compiled` for
      arguments of such shapes, and `programs` all of them.
    """
    ranks = jnp.arange(len(devices))
    programs = {}

    def call(ranks, *args):
        del ranks  # gives the map an axis where no argument is mapped
        return function(*args)

    def placed(args):
        # A call with arguments elsewhere would compile the program once more.
        return [a if n in mapped else replicate(a, devices) for n, a in enumerate(args)]

    def program(*args):
        leaves, structure = jax.tree.flatten(args)
        kind = structure, tuple((np.shape(leaf), jax.dtypes.result_type(leaf)) for leaf in leaves)
        if kind not in programs:
            over = jax.pmap(
                call,
                AXIS,
                in_axes=(0, *(0 if n in mapped else None for n in range(len(args)))),
                out_axes=0 if mapped_out else None,
                devices=None if jax.process_count() > 1 else devices,
                donate_argnums=tuple(n + 1 for n in donate),
            )
            options = COMPILER_OPTIONS.get(devices[0].platform)
            programs[kind] = over.lower(ranks, *placed(args)).compile(compiler_options=options)
        return programs[kind]

    def run(*args):
        args = placed(args)
        return program(*args)(ranks, *args)

    run.program, run.programs = program, programs
    return run


def check_batch(batch_size, devices):
    """Raises ValueError where a global batch cannot be divided over all processes' devices."""
    count = len(devices) * jax.process_count()
    if batch_size % count:
        raise ValueError(f"batch size {batch_size} is not divisible by {count} devices")


def own_rows(batch_size):
    """Rows int32[batch_size / devices] of a global batch that belong to the present device."""
    local = batch_size // lax.axis_size(AXIS)
    return lax.axis_index(AXIS) * local + jnp.arange(local)

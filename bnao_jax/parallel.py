"""The mapping over devices, in one place: `jax.pmap` with the state unstacked.

`devices` are those of all processes. Arguments are the same on all of them but for the mapped ones,
whose leading axis is divided; so no state has a leading device axis and no result needs `x[0]`.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization
from jax import lax
from jax.experimental import multihost_utils
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "devices"
SWITCH = "BNAO_JAX_COMPILER_OPTIONS"  # environment variable; "off" asks nothing of XLA
OPTIONS = {
    # A sum in the order of the source cannot use vector instructions. Reassociation lets it; NaN
    # and infinity keep their meaning.
    "cpu": {"xla_cpu_enable_fast_math": True},
    "gpu": {
        # Kernels of a CUDA graph that do not need each other run at the same time, not in turn.
        "xla_gpu_command_buffer_scheduling_mode": "CONCURRENT",
        # Every fusion would be compiled once more, to be timed; programs were no faster for it.
        "xla_gpu_experimental_enable_fusion_autotuner": False,
    },
}
# XLA leaves convolutions out of CUDA graphs, and with them the switches whose branches hold them:
# the host then waits at every choice. A program of many convolutions has them in its graphs, too.
# Loops stay outside: CUDA refuses a loop within a graph where its body holds a switch.
MANY_CONVOLUTIONS = 8
IN_GRAPHS = {
    "xla_gpu_enable_command_buffer": (
        "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION,CONDITIONAL,CONVOLUTION"
    ),
    "xla_gpu_graph_min_graph_size": "1",
}


def compiler_options(platform, program="") -> dict:
    """What is asked of XLA for a platform, "cpu", "gpu" or "tpu"; nothing where `SWITCH` is "off".

    `program` is the text of what is compiled.
    """
    if os.environ.get(SWITCH) == "off":
        return {}
    options = dict(OPTIONS.get(platform, {}))
    if platform == "gpu" and program.count("stablehlo.convolution") >= MANY_CONVOLUTIONS:
        options |= IN_GRAPHS
    return options


def memory(device) -> int:
    """Bytes that a device has; the CPU has the machine's."""
    of_machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return (device.memory_stats() or {}).get("bytes_limit", of_machine)


def replicate(tree, devices):
    """Puts a copy of every leaf on each device; free where it is there already."""
    return _put(tree, NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec()))


def _put(tree, sharding):
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def put(leaf):
        if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
            return leaf
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = put(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        # Every process holds the whole and hands its own devices their part.
        host = np.asarray(leaf)
        host = host.astype(jax.dtypes.canonicalize_dtype(host.dtype))
        return jax.make_array_from_callback(host.shape, sharding, lambda at: host[at])

    return jax.tree.map(put, tree)


def _shapes(tree, sharding):
    del sharding
    return jax.eval_shape(lambda tree: tree, tree)


def own_places(devices) -> tuple[int, ...]:
    """Which of the devices are this process's."""
    return tuple(n for n, d in enumerate(devices) if d.process_index == jax.process_index())


def divide(parts, devices):
    """Arrays `[len(devices), …]` of which each device holds a row, for a mapped argument.

    Args:
      parts: a tree of arrays for each of the process's own devices, in their order.
      devices: the devices of all processes.
    """
    sharding = NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec(AXIS))
    local = [devices[n] for n in own_places(devices)]

    def join(*rows):
        shape = (len(devices), *rows[0].shape)
        put = [jax.device_put(row[None], device) for row, device in zip(rows, local, strict=True)]
        return jax.make_array_from_single_device_arrays(shape, sharding, put)

    return jax.tree.map(join, *parts)


def over_devices(function, devices, *, mapped=(), mapped_out=False, donate=()):
    """Returns `function(…)` compiled for the `devices`, in parallel.

    Args:
      function: function of positional arguments. Inside, `AXIS` names the devices.
      devices: list of devices, of every process the same number.
      mapped: positions of arguments `[len(devices), …]` of which each device gets a row.
      mapped_out: whether results are stacked over devices, or equal on all of them.
      donate: positions of arguments whose memory the results may take.

    Returns:
      the function. Its attribute `program(*arguments)` gives the `jax.stages.Compiled` for
      arguments of such shapes, and `programs` all of them. For `program` the arguments may be
      `jax.ShapeDtypeStruct`, and the devices those of a `jax.experimental.topologies` description.
    """
    ranks = np.arange(len(devices), dtype=np.int32)
    programs = {}

    def call(ranks, *args):
        del ranks  # gives the map an axis where no argument is mapped
        return function(*args)

    mesh = Mesh(np.array(devices), (AXIS,))
    divided, everywhere = (NamedSharding(mesh, PartitionSpec(*spec)) for spec in ((AXIS,), ()))

    def placed(args, put=_put):
        # A call with arguments elsewhere would compile the program once more.
        places = [divided if n in mapped else everywhere for n in range(len(args))]
        return [put(ranks, divided), *map(put, args, places)]

    def program(*args):
        leaves, structure = jax.tree.flatten(args)
        kind = structure, tuple((np.shape(leaf), jax.dtypes.result_type(leaf)) for leaf in leaves)
        if kind not in programs:
            over = jax.pmap(
                call,
                AXIS,
                in_axes=(0, *(0 if n in mapped else None for n in range(len(args)))),
                out_axes=0 if mapped_out else None,
                devices=devices,
                donate_argnums=tuple(n + 1 for n in donate),
            )
            # Devices of an absent machine hold no arrays, so shapes take their place.
            absent = any(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves)
            lowered = over.lower(*placed(args, _shapes if absent else _put))
            platform = devices[0].platform
            text = lowered.as_text() if platform == "gpu" else ""
            options = compiler_options(platform, text)
            programs[kind] = lowered.compile(compiler_options=options)
        return programs[kind]

    def run(*args):
        return program(*args)(*placed(args))

    run.program, run.programs = program, programs
    return run


def mean_over_devices(tree):
    """Mean of every leaf over the devices, the same bits on each; for use under `over_devices`.

    On a CPU the devices are added in their order, so that the result does not depend on which of
    them share a process, as that of an all-reduce does. Elsewhere it is the platform's all-reduce.
    """
    if lax.axis_size(AXIS) == 1:
        return tree
    return lax.platform_dependent(
        tree, cpu=_mean_in_order, default=lambda tree: lax.pmean(tree, AXIS)
    )


def _mean_in_order(tree):
    # One gather for all leaves: XLA's CPU backend confuses some that run at the same time.
    flat, unravel = ravel_pytree(tree)
    return unravel(jnp.mean(lax.all_gather(flat, AXIS), 0))


def on_host(tree):
    """Copies of all leaves as whole numpy arrays, on every process."""
    if jax.process_count() == 1:
        return jax.tree.map(np.array, tree)
    return multihost_utils.process_allgather(tree, tiled=True)


def from_first(tree):
    """The tree of process 0, on every process, bit for bit; those of the others are ignored.

    The tree is of dicts with names as keys, numpy arrays, numbers and texts.
    """
    if jax.process_count() == 1:
        return tree
    message = np.zeros(0, np.uint8)
    if jax.process_index() == 0:
        message = np.frombuffer(serialization.msgpack_serialize(tree), np.uint8)
    high, low = multihost_utils.broadcast_one_to_all(
        np.array(divmod(len(message), 2**30), np.int32)
    )
    size = int(high) * 2**30 + int(low)
    if jax.process_index() > 0:
        message = np.zeros(size, np.uint8)
    message = np.asarray(multihost_utils.broadcast_one_to_all(message))
    return serialization.msgpack_restore(message.tobytes())


def any_process(flag) -> bool:
    """Whether any process passes true."""
    if jax.process_count() == 1:
        return bool(flag)
    return bool(np.any(multihost_utils.process_allgather(np.array(bool(flag)))))


def check_batch(batch_size, devices):
    """Raises ValueError where a global batch cannot be divided over the devices."""
    if batch_size % len(devices):
        raise ValueError(f"batch size {batch_size} is not divisible by {len(devices)} devices")


def own_rows(batch_size):
    """Rows int32[batch_size / devices] of a global batch that belong to the present device."""
    local = batch_size // lax.axis_size(AXIS)
    return lax.axis_index(AXIS) * local + jnp.arange(local)

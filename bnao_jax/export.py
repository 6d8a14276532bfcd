"""A trained network as a file that runs without this package.

>>> from bnao_jax.spaces.nasbench201.network import Network
>>> from bnao_jax.spaces.nasbench201.outline import Outline
>>> network = Network(Outline(channels=2, cells=1, classes=3), (3, 1, 1, 1, 1, 1))
>>> images = np.zeros((5, 8, 8, 3), np.uint8)
>>> variables = network.init(jax.random.key(0), images / np.float32(255))
>>> statistics = network.apply(variables, images + np.float32(1), mutable=["batch_stats"])[1]
>>> variables = variables | statistics  # a training keeps running ones
>>> content = program(network, variables, (8, 8, 3), mean=[0.5] * 3, std=[0.2] * 3)
>>> run = export.deserialize(bytearray(content)).call  # wherever jax is; nothing of ours is needed
>>> run(flat_weights(variables), images).shape
(5, 3)
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax import export

from bnao_jax.data import normalise

PLATFORMS = ("cpu", "cuda", "tpu")


def flat_weights(variables) -> dict[str, np.ndarray]:
    """The leaves of "params" and "batch_stats" by "/"-joined names."""
    return {
        name: np.asarray(v) for name, v in traverse_util.flatten_dict(variables, sep="/").items()
    }


def program(
    network, variables, image_shape, mean, std, *, batch=None, platforms=PLATFORMS
) -> bytes:
    """StableHLO, as `jax.export` serializes it, of (weights, images) to logits.

    The program takes `flat_weights(variables)` and images uint8[B, H, W, C], normalises them, and
    returns float32[B, classes], with the running statistics in the norms. `jax.export.deserialize`
    reads it; jax keeps such files readable for six months at least, see its documentation.

    Args:
      network: linen module; `apply(variables, images, given=True)` gives logits.
      variables: "params" and "batch_stats".
      image_shape: (H, W, C).
      mean, std: of the channels, on the scale 0..1.
      batch: B; None for any.
      platforms: for which it is made.
    """
    mean, std = np.array(mean, np.float32), np.array(std, np.float32)

    @jax.jit
    def run(weights, images):
        variables = traverse_util.unflatten_dict(weights, sep="/")
        return network.apply(variables, normalise(images, mean, std), given=True)

    shapes = jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape, v.dtype), flat_weights(variables))
    size = export.symbolic_shape("b")[0] if batch is None else batch
    images = jax.ShapeDtypeStruct((size, *image_shape), jnp.uint8)
    return bytes(export.export(run, platforms=platforms)(shapes, images).serialize())

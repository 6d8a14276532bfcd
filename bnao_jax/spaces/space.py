"""What a search space offers to everything that trains, scores, counts, draws or exports."""

import numpy as np

from bnao_jax import graph
from bnao_jax.cost import Cost, total
from bnao_jax.decisions import Decisions
from bnao_jax.nn.initialization import initialize


class Space:
    """A search space together with the network around its searched part.

    Architectures are `int32[D]`, pools `int32[P, D]`, images `[B, H, W, C]`. A space is hashable.

    **Required of every space**

    decisions: the `Decisions`: how many there are, their options, text and tokens.
    classes: number of classes.
    supernet(dtype, axis_name): the weight-sharing linen module. Its call takes normalised images
      and an architecture, a static tuple or a traced int32[D]; `drop_path` and `given` as keywords.
    on_path(params, architecture): a tree like `params` of bool, broadcast against the leaves:
      which shared weights the architecture uses.
    network(architecture, dtype, **heads): the linen module of one architecture alone.
    layers(pool, image_shape): the `Layer`s whose costs add up to those of the networks alone.

    **Derived, or absent; a space overrides what it does better**

    cost(pool, image_shape): the `Cost` of the networks alone: the sum of the layers.
    least_weights(): the number of shared weights, or less.
    inherit(shared, architecture, params): shared weights in the network alone; none by default.
    graph(): the `Form` of architectures as graphs: decisions one behind the other.
    wires(architecture): the cells to draw: a chain.
    effective(pool): for each architecture one that stands for all that compute the same with the
      same shared weights, so that each is scored once: itself.
    features(pool): of which the latency is roughly linear: how often each option is chosen.
    published: names of published architectures to their texts: none.
    heads: names of the settings that `network` knows beside the dtype.
    stems: names of the network's beginnings.
    has_drop_path: whether the modules know drop path.
    has_dropout: whether the supernet's call takes `train` and random numbers for "dropout".
    check_images(image_shape, auxiliary): raises ValueError where images do not fit.

    These are None where a space lacks them; what needs them raises an error:

    macs(image_shape): a function of an architecture, in pure jnp, to its multiply-adds float32.
    own_cost(pool, image_shape): a cost of a kind of its own, float64[P].
    strata(pool): the stratum of each architecture, int[P] from 0.
    connected(pool): whether anything of the input reaches the output, bool[P].
    split(seed): the decision that parts paths into groups with a momentum each.
    """

    name = ""
    decisions: Decisions
    classes: int
    published: dict[str, str] = {}
    heads: tuple[str, ...] = ("dropout",)
    stems: tuple[str, ...] = ("cifar",)
    has_drop_path = has_dropout = False
    macs = own_cost = strata = connected = split = None

    @classmethod
    def of(cls, space, network, classes):
        """The space of `shipped.SpaceSettings`, `shipped.NetworkSettings`, a number of classes."""
        raise NotImplementedError

    def supernet(self, dtype, axis_name=None):
        raise NotImplementedError

    def on_path(self, params, architecture):
        raise NotImplementedError

    def network(self, architecture, dtype, **heads):
        raise NotImplementedError

    def layers(self, pool, image_shape):
        raise NotImplementedError

    def cost(self, pool, image_shape) -> Cost:
        return total(self.layers(pool, image_shape), len(pool))

    def initial_weights(self, key, image_shape):
        """The shared weights before any training; the key is consumed."""
        images = np.zeros((1, *image_shape), np.float32)
        return initialize(
            self.supernet(np.float32), key, images, np.zeros(self.decisions.length, np.int32)
        )

    def least_weights(self):
        return 0

    def inherit(self, shared, architecture, params):
        del shared, architecture
        return params, 0

    def graph(self):
        return graph.chain(self.decisions)

    def wires(self, architecture):
        states = ["input", *(f"state {n + 1}" for n in range(len(architecture)))]
        chain = zip(states, architecture, states[1:], strict=False)
        return {"chain": [graph.Wire(a, f"option {choice}", b) for a, choice, b in chain]}

    def effective(self, pool):
        return np.asarray(pool)

    def features(self, pool):
        pool, columns = np.asarray(pool), []
        for at, options in enumerate(self.decisions.options):
            columns += [pool[:, at] == option for option in range(options)]
        return np.column_stack(columns).astype(float)

    def check_images(self, image_shape, *, auxiliary=False):
        del image_shape, auxiliary


def option_counts(choices, options):
    """How often each option occurs in the rows of choices [P, E]: float64[P, options]."""
    return (np.asarray(choices)[:, :, None] == np.arange(options)).sum(1).astype(float)

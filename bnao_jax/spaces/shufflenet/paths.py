"""One path through equal places with shared weights, and its gradient.

Glossary: N equal places, S channels of all the norms of a block, maps `[C, H, W, batch]`.

Kinds and widths are static or traced (`nn.choose`). A static width slices the widest weights; a
traced one sets the rows of their 1x1 convolutions beyond it to zero, which norms without scale and
offset and ReLU leave zero up to the block's end. The gradient is written by hand, as for the other
spaces: differentiating a choice automatically keeps the residuals of all branches. What is kept of
a block is what it reads and the statistics of its norms; the rest is computed again.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import lax

from bnao_jax.nn import layers
from bnao_jax.nn.static_or_traced import choose
from bnao_jax.spaces.shufflenet.blocks import MID, join, linear, read, run, sizes, units
from bnao_jax.spaces.shufflenet.outline import Place, width_of


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is the same on every path.

    Attributes:
      kinds: the kinds of block to choose from.
      place: the place of the blocks.
      widest: channels inside the shared blocks.
      axis_name: device axis of batch statistics, None for each device's own.
    """

    kinds: tuple[str, ...]
    place: Place
    widest: int
    axis_name: str | None = None


def weights_name(kind, unit) -> str:
    """The name of the shared weights `[N, ...]` of a unit in parameter trees."""
    return f"{kind}_{unit.name}"


def norms(settings):
    """S: the channels of the norms of the kind of block that has most."""
    size = sizes(settings.place, settings.widest)
    each = lambda kind: sum(size[unit.gives] for unit in units(kind, settings.place))
    return max(map(each, settings.kinds))


def initial_statistics(settings, count):
    """Room for the statistics float32[N, 2, S] of the norms of N blocks."""
    return layers.initial_statistics((count, norms(settings)))


def run_blocks(settings, kinds, widths, weights, x, given):
    """The output of N blocks in a row and the statistics float32[N, 2, S] of their norms.

    Args:
      settings: the settings.
      kinds: N integers as a tuple, or int32[N], traced.
      widths: choices of the width inside, likewise, or None where all are the widest.
      weights: for each name of `weights_name` an array `[N, ...]`.
      x: maps `[C, H, W, batch]`.
      given: statistics to normalise with, or None for the batch's own.
    """
    static = isinstance(kinds, tuple)

    def block(x, each):
        kind, width, block_weights, block_given = each
        mid = None if width is None else width_of(settings.place.base, width)
        fixed, traced = ((kind, mid), (None, None)) if static else ((None, None), (kind, mid))
        inputs = read(settings.place, x)
        y, used = _branches(settings, fixed, *traced, block_weights, inputs, block_given)
        return join(settings.place, x, y), used

    if not static and len(kinds) > 1:
        return lax.scan(block, x, (kinds, widths, weights, given))
    statistics = []
    for n in range(len(kinds)):
        stacks = jax.tree.map(lambda stack, n=n: stack[n], (weights, given))
        x, used = block(x, (kinds[n], None if widths is None else widths[n], *stacks))
        statistics.append(used)
    return x, jnp.stack(statistics)


def _narrow(unit, weights, mid):
    """The weights of a unit inside a block of width `mid`, static or traced."""
    if mid is None or MID not in (unit.reads, unit.gives):
        return weights
    if isinstance(mid, int):
        weights = weights[:mid] if unit.gives == MID else weights
        return weights[:, :mid] if unit.reads == MID and not unit.kernel else weights
    if unit.gives == MID and not unit.kernel:
        return jnp.where((jnp.arange(weights.shape[0]) < mid)[:, None], weights, 0)
    return weights  # what they read is zero


def _apply(settings, kind, mid, weights, x, *, given=None, recalled=None):
    """The branches of a block of a kind; and the statistics float32[2, S] of its norms."""
    place, used, at = settings.place, [], 0
    widest = sizes(place, settings.widest)

    def unit_and_norm(unit, x):
        nonlocal at
        y = linear(unit, x, _narrow(unit, weights[weights_name(kind, unit)], mid))
        width = y.shape[0]
        part = lambda row: None if row is None else row[:, at : at + width]
        scale, offset = jnp.ones(width), jnp.zeros(width)
        y, statistics = layers.norm(
            y, scale, offset, part(given), settings.axis_name, recalled=part(recalled)
        )
        used.append(jnp.pad(statistics, ((0, 0), (0, widest[unit.gives] - width))))
        at += widest[unit.gives]
        return y

    y = run(units(kind, place), x, unit_and_norm)
    return y, jnp.pad(jnp.concatenate(used, 1), ((0, 0), (0, norms(settings) - at)))


def _of_kind(settings, kind, weights):
    names = {weights_name(kind, unit) for unit in units(kind, settings.place)}
    return {name: leaf for name, leaf in weights.items() if name in names}


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _branches(settings, static, kind, mid, weights, x, given):
    kind, mid = (kind, mid) if static[0] is None else static

    def of(kind):
        kind_weights = _of_kind(settings, kind, weights)
        return lambda x: _apply(settings, kind, mid, kind_weights, x, given=given)

    return choose(kind, [of(kind) for kind in settings.kinds], x)


def _branches_fwd(settings, static, kind, mid, weights, x, given):
    y, statistics = _branches(settings, static, kind, mid, weights, x, given)
    return (y, statistics), (kind, mid, weights, x, statistics, given is None)


def _branches_bwd(settings, static, saved, gradients):
    kind, mid, weights, x, used, recalled = saved
    kind, mid = (kind, mid) if static[0] is None else static
    statistics = {"recalled" if recalled else "given": used}

    def of(kind):
        def run(x, g):
            output = lambda w, x: _apply(settings, kind, mid, w, x, **statistics)[0]
            d_kind, dx = jax.vjp(output, _of_kind(settings, kind, weights), x)[1](g)
            return jax.tree.map(jnp.zeros_like, weights) | d_kind, dx

        return run

    branches = [of(kind) for kind in settings.kinds]
    d_weights, dx = choose(kind, branches, x, gradients[0])
    return None, None, d_weights, dx, None


_branches.defvjp(_branches_fwd, _branches_bwd)

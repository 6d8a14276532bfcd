"""Equal blocks with choices in them, one behind the other, compiled once.

A language model whose layers choose their heads, in a training loop of one's own:

>>> import jax, jax.numpy as jnp, numpy as np, optax
>>> from flax import linen as nn
>>> from bnao_jax.choice import Choice, collection
>>> from bnao_jax.places import places_of
>>> from bnao_jax.repeat import Repeat
>>> class Block(nn.Module):
...     @nn.compact
...     def __call__(self, x, mask):
...         heads = {f"heads{n}": nn.MultiHeadDotProductAttention(n) for n in (1, 2, 4)}
...         x = x + Choice(heads, name="attention")(nn.LayerNorm()(x), mask=mask)
...         return x + nn.Dense(8)(nn.relu(nn.Dense(16)(nn.LayerNorm()(x))))
>>> class Model(nn.Module):
...     @nn.compact
...     def __call__(self, tokens):  # int32[B, T]
...         x, mask = nn.Embed(6, 8)(tokens), nn.make_causal_mask(tokens)
...         return nn.Dense(6)(Repeat(Block(), 4, name="layers")(x, mask))
>>> tokens = np.arange(8) % 3 + np.arange(4)[:, None] % 4  # four texts, int[4, 8]
>>> model, places = Model(), places_of(Model(), tokens)
>>> [place.name for place in places][:2], places[0].options
(['layers/block0/attention', 'layers/block1/attention'], ('heads1', 'heads2', 'heads4'))
>>> params, adam = model.init(jax.random.key(0), tokens)["params"], optax.adam(1e-2)
>>> @jax.jit  # one program for all 81 architectures, of which it holds one block
... def step(params, state, key):
...     path = collection(places, jax.random.randint(key, (4,), 0, 3))
...     def loss_of(params):
...         logits = model.apply({"params": params, "architecture": path}, tokens[:, :-1])
...         return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()
...     loss, gradients = jax.value_and_grad(loss_of)(params)
...     updates, state = adam.update(gradients, state)
...     return optax.apply_updates(params, updates), state, loss
>>> state, losses = adam.init(params), []
>>> for key in jax.random.split(jax.random.key(1), 60):
...     params, state, loss = step(params, state, key)
...     losses.append(float(loss))
>>> bool(np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5]))
True
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from bnao_jax.choice import (
    COLLECTION,
    ChoiceError,
    apart,
    in_words,
    numbers_along,
    path_of,
    shapes_in,
)
from bnao_jax.nn.static_or_traced import is_static


class Repeat(nn.Module):
    """Runs equal blocks, each with weights and choices of its own, on the output of the one before.

    What belongs to block n lives under its name: `params["block0"]`. Along a traced architecture
    the blocks are one loop over their weights, put side by side, so that XLA compiles one of them;
    else they run one by one. Random numbers differ between the two.

    Attributes:
      block: a module; its output has the shapes of its first argument.
      length: how many blocks.
    """

    block: nn.Module
    length: int

    @nn.compact
    def __call__(self, x, *args, **kwargs):
        """The output of the last block; all are called with the same further arguments.

        Raises:
          ChoiceError: a block's output has other shapes than its input.
        """
        names = [f"block{n}" for n in range(self.length)]
        along, held = _numbers(self, names)
        known = all(map(is_static, jax.tree.leaves((along, held))))
        if known or self.length < 2 or self.is_initializing():
            for name in names:
                x = _like(self, x, self.block.copy(parent=self, name=name)(x, *args, **kwargs))
            return x

        kinds = [kind for kind, tree in self.variables.items() if names[0] in tree]
        variables = {
            kind: _side_by_side([self.variables[kind][name] for name in names]) for kind in kinds
        }
        mutable = [kind for kind in kinds if self.is_mutable_collection(kind)]
        streams = {name: self.make_rng(name) for name in self.scope.rngs if name != "params"}
        first, block = (*path_of(self), names[0]), self.block.copy(parent=None, name=None)

        def run(x, step):
            n, variables, along = step
            numbers = None if along is None else numbers_along() | along
            rngs = {name: jax.random.fold_in(key, n) for name, key in streams.items()}
            with apart(first, numbers):
                y = block.apply(variables, x, *args, rngs=rngs, mutable=mutable, **kwargs)
            y, changed = y
            return _like(self, x, y), dict(changed)

        steps = jnp.arange(self.length), variables, _side_by_side(along)
        x, changed = lax.scan(run, x, steps)
        for kind, tree in changed.items():
            for n, name in enumerate(names):
                self.put_variable(kind, name, jax.tree.map(lambda leaf, n=n: leaf[n], tree))
        return x


def _numbers(module, names):
    """The integers of the choices in the blocks.

    Returns:
      where the module runs `along` a path, for each block its integers by their names in the first
      block, else None; and what the collection "architecture" holds.
    """
    known, path = numbers_along(), path_of(module)
    if known is None:
        return None, module.variables.get(COLLECTION, {})
    stems = ["/".join((*path, name)) for name in names]
    of_block = lambda stem: {
        stems[0] + key.removeprefix(stem): number
        for key, number in known.items()
        if f"{key}/".startswith(f"{stem}/")
    }
    return [of_block(stem) for stem in stems], {}


def _side_by_side(trees):
    """Equal trees as one, with a leading axis; None of None."""
    return None if trees is None else jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _like(module, x, y):
    """y, which has the shapes of x."""
    before, after = shapes_in(x), shapes_in(y)
    if before != after:
        raise ChoiceError(
            f"a block of {'/'.join(path_of(module)) or 'Repeat'!r} turns {in_words(before)} into "
            f"{in_words(after)}: repeated blocks keep the shape"
        )
    return y

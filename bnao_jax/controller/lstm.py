"""An LSTM over tokens (Hochreiter, Schmidhuber, "Long Short-Term Memory", 1997).

Shapes: T steps, B sequences, K tokens a step, M options at most of each, V vocabulary, H hidden.
Time leads.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

UNROLL = 10  # steps of a loop's round on a GPU, whose kernels are launched together


def _scan(step, start, xs, *, reverse=False):
    """`lax.scan`; on CUDA all that a step reads is one array, and so is all that it writes.

    A GPU starts a kernel for every array that a step cuts out or puts back. A CPU does not gain.
    """
    plain = functools.partial(lax.scan, step, reverse=reverse)
    packed = functools.partial(_packed_scan, step, reverse)
    return lax.platform_dependent(start, xs, cuda=packed, default=plain)


def _packed_scan(step, reverse, start, xs):
    join = lambda leaves: jnp.concatenate(leaves, axis=-1)

    def split(packed, like):
        leaves, structure = jax.tree.flatten(like)
        ends = np.cumsum([leaf.shape[-1] for leaf in leaves])[:-1]
        return jax.tree.unflatten(structure, jnp.split(packed, ends, axis=-1))

    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), xs)
    _, written = jax.eval_shape(step, start, one)

    def packed_step(carry, read):
        carry, ys = step(carry, split(read, one))
        return carry, join(jax.tree.leaves(ys))

    read = join(jax.tree.leaves(xs))
    carry, packed = lax.scan(packed_step, start, read, reverse=reverse, unroll=UNROLL)
    return carry, split(packed, written)


def cell(gates, memory):
    """The activated gates, 4 times [B, H], hidden state [B, H] and memory [B, H] after one step."""
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    i, f, g, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)
    memory = f * memory + i * g
    return (i, f, g, o), o * jnp.tanh(memory), memory


@jax.custom_vjp
def lstm(inputs, kernel, hidden, memory):
    """Hidden states [T, B, H] for projected inputs [T, B, 4H] and a recurrent kernel [H, 4H]."""
    return _forward(inputs, kernel, hidden, memory)[0]


def _forward(inputs, kernel, hidden, memory):
    def step(carry, x):
        before, memory = carry
        gates, hidden, after = cell(x + before @ kernel, memory)
        return (hidden, after), (hidden, after, gates)

    _, (hiddens, memories, gates) = _scan(step, (hidden, memory), inputs)
    return hiddens, (kernel, hidden, memory, hiddens, memories, gates)


def _backward(residuals, d_hiddens):
    """The kernel's gradient as one product over all steps; autodiff would add up T small ones."""
    kernel, hidden, memory, hiddens, memories, gates = residuals
    hiddens_before = jnp.concatenate([hidden[None], hiddens[:-1]])
    memories_before = jnp.concatenate([memory[None], memories[:-1]])

    def step(carry, xs):
        d_hidden, d_memory = carry
        d_output, (i, f, g, o), before, after = xs
        d_hidden += d_output
        squashed = jnp.tanh(after)
        d_memory += d_hidden * o * (1 - squashed**2)
        d_gates = jnp.concatenate(
            [
                d_memory * g * i * (1 - i),
                d_memory * before * f * (1 - f),
                d_memory * i * (1 - g**2),
                d_hidden * squashed * o * (1 - o),
            ],
            axis=-1,
        )
        return (d_gates @ kernel.T, d_memory * f), d_gates

    start = jnp.zeros_like(hidden), jnp.zeros_like(memory)
    (d_hidden, d_memory), d_inputs = _scan(
        step, start, (d_hiddens, gates, memories_before, memories), reverse=True
    )
    d_kernel = jnp.einsum("tbh,tbg->hg", hiddens_before, d_inputs)
    return d_inputs, d_kernel, d_hidden, d_memory


lstm.defvjp(_forward, _backward)


class TokenLSTM(nn.Module):
    """An LSTM whose step reads K tokens, their embeddings joined.

    A projected token is a row of the projected embedding table, so the table is projected, V rows,
    and not the sequences. A step reads each of its tokens from a range of its own, so a one-hot
    vector over that range, M long, fetches the row: where positions have tokens of their own,
    M is a small part of V. A token outside its range reads nothing, or another's row.

    Attributes:
      first: int[T][K], the first token of each range.
      options: M, tokens of the longest range.
    """

    first: tuple[tuple[int, ...], ...]
    options: int
    vocabulary: int
    embedding: int
    hidden: int
    embedding_scale: float = 1.0

    def setup(self):
        init, h, first = nn.initializers, self.hidden, np.array(self.first)
        k = first.shape[1]
        embedding = self.param(
            "embedding", init.normal(self.embedding_scale), (self.vocabulary, self.embedding)
        )
        projection = self.param("projection", init.lecun_normal(), (k * self.embedding, 4 * h))
        bias = self.param("bias", init.zeros, (1, 1, 4 * h))
        self.kernel = self.param("kernel", init.orthogonal(), (h, 4 * h))
        rows = embedding @ projection.reshape(k, self.embedding, 4 * h) + bias / k  # [K, V, 4H]
        tokens = np.minimum(first[..., None] + np.arange(self.options), self.vocabulary - 1)
        rows = rows[np.arange(k)[:, None], tokens]  # [T, K, M, 4H]
        self.rows = rows.reshape(len(first), -1, 4 * h)

    def __call__(self, tokens, hidden, memory):  # int32[T, B, K], [B, H] twice -> [T, B, H]
        options = tokens - np.array(self.first, np.int32)[:, None]
        return lstm(self.project(options, self.rows), self.kernel, hidden, memory)

    def step(self, options, rows, hidden, memory):
        """One step: int32[B, K], that step's `rows` [KM, 4H], [B, H] twice -> [B, H] twice."""
        return cell(self.project(options, rows) + hidden @ self.kernel, memory)[1:]

    def project(self, options, rows):  # int32[..., B, K], [..., KM, 4H] -> [..., B, 4H]
        one_hot = jax.nn.one_hot(options, self.options)
        return one_hot.reshape(*options.shape[:-1], -1) @ rows

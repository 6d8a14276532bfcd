"""An LSTM over tokens (Hochreiter, Schmidhuber, "Long Short-Term Memory", 1997).

Shapes: T steps, B sequences, K tokens a step, V vocabulary, E embedding, H hidden. Time leads.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax


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

    _, (hiddens, memories, gates) = lax.scan(step, (hidden, memory), inputs)
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
    (d_hidden, d_memory), d_inputs = lax.scan(
        step, start, (d_hiddens, gates, memories_before, memories), reverse=True
    )
    d_kernel = jnp.einsum("tbh,tbg->hg", hiddens_before, d_inputs)
    return d_inputs, d_kernel, d_hidden, d_memory


lstm.defvjp(_forward, _backward)


class TokenLSTM(nn.Module):
    """An LSTM whose step reads K tokens, their embeddings joined.

    A projected token is a row of the projected embedding table, so the table is projected, V rows,
    and not the sequences. Rows are fetched by a product with one-hot vectors, whose gradient is a
    product too; that of a gather is a scatter, slow on every device.
    """

    vocabulary: int
    embedding: int
    hidden: int
    tokens_per_step: int = 1
    embedding_scale: float = 1.0

    def setup(self):
        init, k, h = nn.initializers, self.tokens_per_step, self.hidden
        embedding = self.param(
            "embedding", init.normal(self.embedding_scale), (self.vocabulary, self.embedding)
        )
        projection = self.param("projection", init.lecun_normal(), (k * self.embedding, 4 * h))
        bias = self.param("bias", init.zeros, (1, 1, 4 * h))
        self.kernel = self.param("kernel", init.orthogonal(), (h, 4 * h))
        rows = embedding @ projection.reshape(k, self.embedding, 4 * h) + bias / k  # [K, V, 4H]
        self.rows = rows.reshape(k * self.vocabulary, 4 * h)

    def __call__(self, tokens, hidden, memory):  # int32[T, B, K], [B, H] twice -> [T, B, H]
        return lstm(self.project(tokens), self.kernel, hidden, memory)

    def step(self, tokens, hidden, memory):  # int32[B, K], [B, H] twice -> [B, H] twice
        return cell(self.project(tokens) + hidden @ self.kernel, memory)[1:]

    def project(self, tokens):  # int32[..., K] -> [..., 4H]
        one_hot = jax.nn.one_hot(tokens, self.vocabulary)
        return one_hot.reshape(*tokens.shape[:-1], -1) @ self.rows

"""NAO's encoder, predictor and decoder (Luo et al., "Neural Architecture Optimization", NeurIPS
2018, https://arxiv.org/abs/1808.07233), in the sizes of Balanced NAO (Luo, Qin, Chen, "Balanced
One-shot Neural Architecture Optimization", 2019, https://arxiv.org/abs/1909.10815).

Shapes: B sequences, D tokens, M options of a position at most, S encoder steps, V vocabulary,
H hidden. Within the modules time leads: tokens [D, B], encoder outputs [S, B, H].
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from bnao_jax.controller.lstm import TokenLSTM
from bnao_jax.controller.settings import START, Controller

FORBIDDEN = -1e9  # logit of a token that a position may not emit; finite: 0 * log p is 0


def normalize(x):
    """x scaled to length 1 along the last axis; the gradient at 0 is finite."""
    return x * lax.rsqrt(jnp.sum(x * x, axis=-1, keepdims=True) + 1e-12)


def pool(outputs):
    """The embedding [B, H] of encoder outputs [S, B, H]: their mean, normalised."""
    return normalize(outputs.mean(axis=0))


class Encoder(nn.Module):
    """Encoder outputs [S, B, H], each of length 1, of tokens [D, B]."""

    controller: Controller

    @nn.compact
    def __call__(self, tokens):
        c = self.controller
        length, batch = tokens.shape
        steps = tokens.reshape(length // c.tokens_per_step, c.tokens_per_step, batch)
        start = jnp.zeros((batch, c.hidden))
        first = tuple(map(tuple, c.first.reshape(-1, c.tokens_per_step).tolist()))
        sizes = c.vocabulary, c.encoder_embedding, c.hidden, c.embedding_scale
        rnn = TokenLSTM(first, c.options, *sizes, name="lstm")
        return normalize(rnn(jnp.swapaxes(steps, 1, 2), start, start))


class Predictor(nn.Module):
    """The predicted score [B], within (0, 1), of embeddings [B, H]."""

    controller: Controller

    @nn.compact
    def __call__(self, embedding):
        for width in self.controller.predictor_hidden:
            embedding = nn.relu(nn.Dense(width)(embedding))
        return nn.sigmoid(nn.Dense(1)(embedding)[:, 0])


class Decoder(nn.Module):
    """Tokens from encoder outputs: an LSTM started from their embedding, attending to them.

    What attention returns is not fed back to the LSTM, so that with the tokens given all positions
    attend at once.
    """

    controller: Controller

    def setup(self):
        c, init = self.controller, nn.initializers.lecun_normal()
        before = (START, *c.first[:-1].tolist())  # what each step reads, the first the start token
        sizes = c.vocabulary, c.decoder_embedding, c.hidden, c.embedding_scale
        self.lstm = TokenLSTM(tuple((first,) for first in before), c.options, *sizes)
        self.query = self.param("query", init, (c.hidden, c.hidden))
        self.mix = self.param("mix", init, (2, c.hidden, c.hidden))
        self.mix_bias = self.param("mix_bias", nn.initializers.zeros, (1, 1, c.hidden))
        out = self.param("out", init, (c.hidden, c.vocabulary))
        bias = self.param("out_bias", nn.initializers.zeros, (1, 1, c.vocabulary))
        emitted = np.minimum(c.first[:, None] + np.arange(c.options), c.vocabulary - 1)
        self.out = jnp.moveaxis(out[:, emitted], 0, 1)  # [D, H, M]
        self.out_bias = jnp.where(c.mask, bias[0, 0, emitted], FORBIDDEN)[:, None]  # [D, 1, M]

    def __call__(self, outputs, tokens):
        """log p(option | the tokens before it), [B, D, M], teacher forcing."""
        before = jnp.concatenate([jnp.full_like(tokens[:1], START), tokens[:-1]])
        start = pool(outputs)
        hidden = self.lstm(before[..., None], start, start)
        mixed = self.attend(jnp.swapaxes(hidden, 0, 1), *self.read(outputs))
        logits = jnp.swapaxes(mixed, 0, 1) @ self.out + self.out_bias  # [D, B, M]
        return jnp.swapaxes(nn.log_softmax(logits), 0, 1)

    def decode(self, outputs):
        """The tokens [D, B] found greedily, each the most probable its position may emit."""
        keys_values = self.read(outputs)

        def step(carry, position):
            rows, out, bias = position
            before, hidden, memory = carry
            hidden, memory = self.lstm.step(before[:, None], rows, hidden, memory)
            option = jnp.argmax(self.attend(hidden[:, None], *keys_values)[:, 0] @ out + bias, -1)
            option = option.astype(jnp.int32)
            return (option, hidden, memory), option

        start = pool(outputs)
        before = jnp.zeros(start.shape[:1], jnp.int32)  # the start token is the first's one option
        positions = self.lstm.rows, self.out, self.out_bias
        _, options = lax.scan(step, (before, start, start), positions)
        return options + self.controller.first[:, None]

    def read(self, outputs):
        """Keys and values [B, S, H]: the S encoder outputs pass the query's projection and the
        context's half of the linear layer, which is the same as D queries and contexts passing."""
        outputs = jnp.swapaxes(outputs, 0, 1)
        return outputs @ self.query.T, outputs @ self.mix[0]

    def attend(self, hidden, keys, values):  # [B, T, H], [B, S, H] twice -> [B, T, H]
        weights = nn.softmax(hidden @ jnp.swapaxes(keys, 1, 2))
        return jnp.tanh(weights @ values + hidden @ self.mix[1] + self.mix_bias)


class NAO(nn.Module):
    """The three parts; tokens come and go as int32[B, D]."""

    controller: Controller

    def setup(self):
        self.encoder = Encoder(self.controller)
        self.predictor = Predictor(self.controller)
        self.decoder = Decoder(self.controller)

    def __call__(self, tokens):
        """(predicted scores [B], log p of the given tokens [B, D])."""
        outputs, c = self.encode(tokens), self.controller
        log_p = self.decoder(outputs, tokens.T)  # [B, D, M]
        chosen = jnp.sum(log_p * jax.nn.one_hot(tokens - c.first[None], c.options), axis=-1)
        return self.predict(outputs), chosen

    def encode(self, tokens):  # int32[B, D] -> [S, B, H]
        return self.encoder(tokens.T)

    def embed(self, tokens):  # int32[B, D] -> [B, H]
        return pool(self.encode(tokens))

    def predict(self, outputs):  # [S, B, H] -> [B]
        return self.predictor(pool(outputs))

    def decode(self, outputs):  # [S, B, H] -> int32[B, D]
        return self.decoder.decode(outputs).T

    def uphill(self, outputs, step_size, jitter=0.0):  # [S, B, H] -> [S, B, H]
        """normalize(e_s + step_size * d predicted / d e_s + jitter), for each output e_s."""
        slope = jax.grad(lambda outputs: self.predict(outputs).sum())(outputs)
        return normalize(outputs + step_size * slope + jitter)


@functools.partial(jax.jit, static_argnames="controller")
def init(controller: Controller, key):
    """Random parameters."""
    return NAO(controller).init(key, jnp.zeros((1, controller.length), jnp.int32))["params"]

"""The settings of NAO's controller."""

import dataclasses

import jax
import numpy as np

START = 0  # the token that opens every decoded sequence; no position may emit it


@dataclasses.dataclass(frozen=True)
class Controller:
    """Sizes of the encoder, predictor and decoder, and the tokens each position may emit.

    Hashable, so that jit can take it as a static argument. Raises ValueError on settings that
    contradict each other.
    """

    allowed: tuple[
        tuple[int, int], ...
    ]  # per position (first, count): tokens first .. first+count-1
    vocabulary: int  # number of tokens, the start token included
    tokens_per_step: int = 2  # consecutive tokens whose embeddings make one encoder step
    encoder_embedding: int = 32  # width of one token; a step is tokens_per_step times as wide
    decoder_embedding: int = 64
    hidden: int = 64  # width of both LSTMs: the embedding of an architecture starts the decoder
    embedding_scale: float = 1.0  # standard deviation of the token embeddings at the start
    predictor_hidden: tuple[int, ...] = ()  # widths of the predictor's hidden layers; () is linear

    def __post_init__(self):
        object.__setattr__(
            self, "allowed", tuple((int(first), int(count)) for first, count in self.allowed)
        )
        object.__setattr__(self, "predictor_hidden", tuple(self.predictor_hidden))
        if not self.allowed:
            raise ValueError("allowed is empty: a sequence needs at least one position")
        for position, (first, count) in enumerate(self.allowed):
            if first <= START or count < 1 or first + count > self.vocabulary:
                raise ValueError(
                    f"position {position} may emit {count} tokens from {first} on; it needs at "
                    f"least one, all within 1..{self.vocabulary - 1} ({START} is the start token)"
                )
        sizes = (self.tokens_per_step, self.encoder_embedding, self.decoder_embedding, self.hidden)
        if min(sizes + self.predictor_hidden) < 1:
            raise ValueError(f"every size must be at least 1, got {self}")
        if not self.embedding_scale > 0:
            raise ValueError(f"embedding_scale must be above 0, got {self.embedding_scale}")
        if self.length % self.tokens_per_step:
            raise ValueError(
                f"a sequence of {self.length} tokens cannot be cut into encoder steps of "
                f"{self.tokens_per_step}"
            )

    @property
    def length(self) -> int:
        """D, the number of tokens of a sequence."""
        return len(self.allowed)

    @property
    def options(self) -> int:
        """M, the most tokens that a position may emit."""
        return max(count for _, count in self.allowed)

    @property
    def first(self) -> np.ndarray:
        """int32[D], the first token of each position: option o there is token first + o."""
        return np.array(self.allowed, np.int32)[:, 0]

    @property
    def mask(self) -> np.ndarray:
        """bool[D, M]: which options each position has."""
        return np.arange(self.options) < np.array(self.allowed)[:, 1:]

    def check(self, tokens, count=None) -> None:
        """Raises ValueError unless `tokens` is an integer array [N, D] of what positions may emit.

        What is on a device is not fetched to be looked at, and passes; so do rows from `count` on.
        """
        if tokens.ndim != 2 or tokens.shape[1] != self.length:
            raise ValueError(f"tokens must be [N, {self.length}], got {list(tokens.shape)}")
        if not np.issubdtype(tokens.dtype, np.integer):
            raise ValueError(f"tokens must be integers, got {tokens.dtype}")
        if not isinstance(tokens, np.ndarray) or isinstance(count, jax.Array):
            return
        rows = tokens[:count]
        options = rows - self.first
        wrong = (options < 0) | (options >= np.array(self.allowed)[:, 1])
        if wrong.any():
            row, at = np.argwhere(wrong)[0]
            first, count = self.allowed[at]
            raise ValueError(
                f"token {rows[row, at]} at position {at} of sequence {row} is not one of "
                f"{first}..{first + count - 1}"
            )

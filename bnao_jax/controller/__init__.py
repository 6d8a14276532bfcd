"""NAO's controller: it learns scores of token sequences and proposes better sequences.

An encoder (LSTM) embeds a sequence, a predictor reads its score from the embedding, a decoder
(LSTM with attention) recovers the sequence. New sequences are decoded from encoder outputs moved
up the gradient of the predicted score (Luo et al., "Neural Architecture Optimization", NeurIPS
2018, https://arxiv.org/abs/1808.07233; sizes of Luo, Qin, Chen, "Balanced One-shot Neural
Architecture Optimization", 2019, https://arxiv.org/abs/1909.10815).

The package stands alone: any integer sequences of one length will do. Here twelve positions emit
tokens 1..4 and 5..7 in turn, and the score of a sequence is a sum of one value per position:

>>> import jax, numpy as np
>>> from bnao_jax.controller import Controller, ascend, fit
>>> controller = Controller(allowed=((1, 4), (5, 3)) * 6, vocabulary=8, hidden=32)
>>> rng = np.random.default_rng(0)
>>> first, options = np.array(controller.allowed).T
>>> values = rng.normal(size=(12, 8))
>>> def score(tokens):
...     return values[np.arange(12), tokens].sum(axis=1)
>>> seeds = rng.integers(first, first + options, size=(1137, 12))
>>> seeds = seeds[np.argsort(score(seeds))[:1024]]  # the best tenth left out
>>> scores = score(seeds)
>>> targets = (scores - scores.min()) / np.ptp(scores)
>>> params, losses = fit(
...     controller, jax.random.key(0), seeds, targets, epochs=30, batch_size=32, learning_rate=3e-3
... )
>>> best = seeds[np.argsort(-scores)[:50]]
>>> moved = np.concatenate([ascend(controller, params, best, step) for step in range(1, 11)])
>>> bool(score(moved).max() > scores.max())
True
"""

from bnao_jax.controller.ascent import ascend as ascend
from bnao_jax.controller.fitting import Fit as Fit
from bnao_jax.controller.fitting import begin_fit as begin_fit
from bnao_jax.controller.fitting import continue_fit as continue_fit
from bnao_jax.controller.fitting import fit as fit
from bnao_jax.controller.inference import embed as embed
from bnao_jax.controller.inference import predict as predict
from bnao_jax.controller.inference import reconstruct as reconstruct
from bnao_jax.controller.model import NAO as NAO
from bnao_jax.controller.model import init as init
from bnao_jax.controller.settings import START as START
from bnao_jax.controller.settings import Controller as Controller

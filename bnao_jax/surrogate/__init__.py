"""BONAS's surrogate: a graph network whose embeddings a Bayesian regression reads.

Shi et al., "Bridging the Gap between Sample-based and One-shot Neural Architecture Search with
BONAS", 2020, https://arxiv.org/abs/1911.09336. The graph network learns to predict scores; on its
embeddings a Bayesian sigmoid regression tells how sure a prediction is.

The package stands alone: any graphs with as many nodes will do. Here six nodes of three types stand
in a chain, and the score of a graph is the share of type 0:

>>> import jax, numpy as np
>>> from bnao_jax import surrogate
>>> types = np.random.default_rng(0).integers(0, 3, size=(200, 6)).astype(np.int32)
>>> adjacency = np.repeat(np.eye(6, k=-1, dtype=bool)[None], 200, 0)
>>> targets = (0.1 + 0.8 * (types == 0).mean(1)).astype(np.float32)
>>> gcn = surrogate.GCN(types=3)
>>> seen, new = slice(0, 150), slice(150, 200)
>>> fitted = surrogate.fit(
...     gcn, jax.random.key(0), adjacency[seen], types[seen], targets[seen],
...     count=150, epochs=50, batch_size=50, learning_rate=1e-3,
... )
>>> _, embeddings = surrogate.embed(gcn, fitted, adjacency, types)
>>> logits = np.log(targets / (1 - targets))
>>> belief = surrogate.posterior(embeddings[seen], logits[seen])
>>> expected, deviation = surrogate.sigmoid_moments(*surrogate.predict(belief, embeddings[new]))
>>> bool(np.corrcoef(expected, targets[new])[0, 1] > 0.9), deviation.shape
(True, (50,))
"""

from bnao_jax.surrogate.gcn import GCN as GCN
from bnao_jax.surrogate.gcn import Fitted as Fitted
from bnao_jax.surrogate.gcn import embed as embed
from bnao_jax.surrogate.gcn import fit as fit
from bnao_jax.surrogate.regression import Posterior as Posterior
from bnao_jax.surrogate.regression import posterior as posterior
from bnao_jax.surrogate.regression import predict as predict
from bnao_jax.surrogate.regression import sigmoid_moments as sigmoid_moments

"""How well the predictors of BONAS and NAO order architectures they were not fitted to.

    python tests/predictors.py --truth=FILE [--known=200] [--others=2000] [--seeds=4]

Not a test that pytest collects: it takes a minute a seed. FILE as for launch.compare. Every seed
draws its own architectures of NAS-Bench-201; the scores are validation accuracies after 12 epochs;
prints Kendall's tau b on the others, and how many of them lie in the regression's 95 % intervals.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np

from bnao_jax import controller as nao
from bnao_jax import surrogate
from bnao_jax.ground_truth import load
from bnao_jax.ranking import kendall_tau
from bnao_jax.spaces.nasbench201.graph import graph_form
from bnao_jax.spaces.nasbench201.outline import nasbench201_decisions
from bnao_jax.strategies.bonas import HIGH, LOW
from bnao_jax.strategies.nao import controller_of
from bnao_jax.strategies.strategy import Range

COLUMN = "cifar10_valid_acc_12ep"
SPACE, FORM = nasbench201_decisions(), graph_form()
EPOCHS = 300, 1_000  # of NAO's controller


def bonas(key, known, scores, others):
    """Two predictions for others, and how they lie in the regression's intervals, ±1 the bounds."""
    targets = LOW + (HIGH - LOW) * Range.of(scores).shares(scores)
    gcn = surrogate.GCN(FORM.types)
    fitted = surrogate.fit(
        *(gcn, key, *map(jnp.asarray, FORM.of(known)), jnp.asarray(targets, jnp.float32)),
        **dict(count=len(known), epochs=100, batch_size=128, learning_rate=1e-3),
    )
    _, features = surrogate.embed(gcn, fitted, *FORM.of(known))
    predicted, embedded = surrogate.embed(gcn, fitted, *FORM.of(others))
    belief = surrogate.posterior(features, np.log(targets / (1 - targets)))
    return np.asarray(predicted), *surrogate.predict(belief, embedded)


def linear(known, scores, others):
    """Least squares on which operation each edge has."""
    features = lambda pool: np.eye(5)[pool].reshape(len(pool), -1)
    weights, *_ = np.linalg.lstsq(features(known), scores - scores.mean(), rcond=None)
    return features(others) @ weights


def controller(key, known, scores, others, epochs):
    """NAO's predictor."""
    settings, targets = controller_of(SPACE), Range.of(scores).shares(scores)
    params, _ = nao.fit(settings, key, SPACE.to_tokens(known), targets, epochs=epochs)
    return np.asarray(nao.predict(settings, params, SPACE.to_tokens(others)))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--truth", required=True)
    parser.add_argument("--known", type=int, default=200)
    parser.add_argument("--others", type=int, default=2_000)
    parser.add_argument("--seeds", type=int, default=4)
    args = parser.parse_args()
    truth = load(args.truth, SPACE)
    for seed in range(args.seeds):
        order = np.random.RandomState(seed).permutation(len(truth.pool))
        known, others = (truth.pool[rows] for rows in (order[: args.known], order[args.known :]))
        others, key = others[: args.others], jax.random.key(seed)
        scores, found = truth.of(known, COLUMN), truth.of(others, COLUMN)
        predicted, mean, variance = bonas(key, known, scores, others)
        share = np.clip(Range.of(scores).shares(found), 1e-3, 1 - 1e-3)
        target = LOW + (HIGH - LOW) * share
        off = np.abs(np.log(target / (1 - target)) - mean) / np.sqrt(variance)
        ordered = {
            "graph network": predicted,
            "Bayesian regression on it": mean,
            "least squares": linear(known, scores, others),
            **{f"NAO, {n} epochs": controller(key, known, scores, others, n) for n in EPOCHS},
        }
        taus = "; ".join(f"{name} {kendall_tau(v, found):.3f}" for name, v in ordered.items())
        print(f"seed {seed}: {taus}; within 95 % intervals {np.mean(off < 1.96):.2f}", flush=True)


if __name__ == "__main__":
    main()

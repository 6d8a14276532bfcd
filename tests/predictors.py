"""How well the predictors of NAO and BONAS order architectures they were not fitted to.

    python -m tests.predictors --truth=FILE [--known=200] [--others=2000] [--seeds=4]
    python -m tests.predictors --truth=teacher:graph --known=1000 [--noise=1]

Not a test that pytest collects: it takes minutes. FILE as for launch.compare: architectures of
NAS-Bench-201, drawn anew for every seed, whose scores are validation accuracies after 12 epochs;
or a teacher on the cells of NAO. Prints Kendall's tau b on the others, the share of their pairs in
the right order, and the seconds of the fit, compilation included.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

from bnao_jax import controller as nao
from bnao_jax import surrogate
from bnao_jax.ground_truth import load
from bnao_jax.ranking import kendall_tau, pairwise_accuracy
from bnao_jax.spaces import shipped
from bnao_jax.spaces.shipped import NetworkSettings, SpaceSettings
from bnao_jax.strategies.bonas import HIGH, LOW
from bnao_jax.strategies.nao import NaoSettings, controller_of, nao_strategy
from bnao_jax.strategies.strategy import Range
from bnao_jax.teacher import Teacher
from configs import tabular

COLUMN = "cifar10_valid_acc_12ep"
# The paper's, but for a tenth of its epochs: 1,000 take half an hour.
PUBLISHED = NaoSettings(epochs=100)
OURS = NaoSettings(**tabular.get_config().nao.to_dict())


def bonas(form, key, known, scores, others):
    """Predictions of the graph network, and of the regression on it, for others.

    Also how far their scores would have to lie for an interval of one standard deviation.
    """
    targets = LOW + (HIGH - LOW) * Range.of(scores).shares(scores)
    gcn = surrogate.GCN(form.types)
    fitted = surrogate.fit(
        *(gcn, key, *map(jnp.asarray, form.of(known)), jnp.asarray(targets, jnp.float32)),
        **dict(count=len(known), epochs=100, batch_size=128, learning_rate=1e-3),
    )
    _, features = surrogate.embed(gcn, fitted, *form.of(known))
    predicted, embedded = surrogate.embed(gcn, fitted, *form.of(others))
    belief = surrogate.posterior(features, np.log(targets / (1 - targets)))
    return np.asarray(predicted), *surrogate.predict(belief, embedded)


def linear(decisions, known, scores, others):
    """Least squares on which option each decision has, with a little decay."""
    options = np.array(decisions.options)
    features = lambda pool: np.concatenate(
        [np.eye(count)[column] for count, column in zip(options, pool.T, strict=True)], axis=1
    )
    x = features(decisions.canonical(known))
    weights = np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ (scores - scores.mean()))
    return features(decisions.canonical(others)) @ weights


def controller(decisions, settings, key, known, scores, others):
    """NAO's predictor, fitted as a search fits it."""
    strategy = nao_strategy(decisions, settings, capacity=len(known))
    state, _ = strategy.tell(strategy.init(key), key, known, scores.astype(np.float32))
    made = controller_of(decisions, settings)
    pool = others if settings.exchanges else decisions.canonical(others)
    return np.asarray(nao.predict(made, state["fit"].params, pool + made.first[None]))


def drawn(args, seed):
    """(space, known, their scores, others, theirs) of a seed."""
    if not args.truth.startswith("teacher:"):
        space = shipped.make(SpaceSettings("nasbench201"), NetworkSettings(), 10)
        truth = load(args.truth, space.decisions)
        pool = truth.pool[np.random.RandomState(seed).permutation(len(truth.pool))]
        score = lambda pool: truth.of(pool, COLUMN)
    else:
        space = shipped.make(SpaceSettings(), NetworkSettings(), 10)
        kind = args.truth.removeprefix("teacher:")
        teacher = Teacher(kind, space, seed, noise=args.noise)
        pool = space.decisions.sample(jax.random.key(seed), args.known + args.others)
        score = lambda pool: teacher.of(pool, "score")
    known, others = np.split(pool[: args.known + args.others], [args.known])
    return space, known, score(known), others, score(others)


def show(found, name, predicted, started):
    """Prints how well predictions order what was found."""
    print(
        f"  {name:28} tau {kendall_tau(predicted, found):.3f}, pairs "
        f"{pairwise_accuracy(predicted, found):.3f}, {time.monotonic() - started:.1f} s",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--truth", required=True)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--known", type=int, default=200)
    parser.add_argument("--others", type=int, default=2_000)
    parser.add_argument("--seeds", type=int, default=4)
    args = parser.parse_args()
    for seed in range(args.seeds):
        space, known, scores, others, found = drawn(args, seed)
        key, decisions = jax.random.key(seed), space.decisions
        print(f"seed {seed}", flush=True)
        started = time.monotonic()
        predicted, mean, variance = bonas(space.graph(), key, known, scores, others)
        show(found, "BONAS, graph network", predicted, started)
        show(found, "BONAS, regression on it", mean, started)
        share = np.clip(Range.of(scores).shares(found), 1e-3, 1 - 1e-3)
        target = LOW + (HIGH - LOW) * share
        off = np.abs(np.log(target / (1 - target)) - mean) / np.sqrt(variance)
        print(f"  within its 95 % intervals: {np.mean(off < 1.96):.2f}")
        started = time.monotonic()
        show(found, "linear", linear(decisions, known, scores, others), started)
        for name, settings in (("NAO, configs/tabular.py", OURS), ("NAO, published", PUBLISHED)):
            started = time.monotonic()
            predicted = controller(decisions, settings, key, known, scores, others)
            show(found, name, predicted, started)


if __name__ == "__main__":
    main()

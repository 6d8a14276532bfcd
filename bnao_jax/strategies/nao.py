"""Neural Architecture Optimization: fit a controller to the scores, move the best uphill, decode.

Luo et al., "Neural Architecture Optimization", 2018, https://arxiv.org/abs/1808.07233, in the
balanced one-shot form of Luo, Qin, Chen, 2020, https://arxiv.org/abs/1909.10815, Algorithm 1.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from bnao_jax import controller as nao
from bnao_jax.ranking import pairwise_accuracy
from bnao_jax.space import SearchSpace
from bnao_jax.strategies.strategy import Range, Strategy, best, check_capacity, filled_up, padded

MAX_STEP_SIZE = 50


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of the NAO strategy.

    Attributes:
      capacity: most architectures it will ever be told; pools are padded to it, so that the
        controller compiles once.
      seeds: K, the best architectures that are moved uphill.
      exchanges: equivalent rewritings of each architecture in the controller's training data.
      held_out: share of the pool that the controller is tested on instead of fitted to.
      epochs, batch_size, learning_rate, trade_off: of the fit, see `controller.fit`.
    """

    capacity: int
    seeds: int = 100
    exchanges: int = 10
    held_out: float = 0.1
    epochs: int = 1000
    batch_size: int = 100
    learning_rate: float = 1e-3
    trade_off: float = 0.8


def controller_of(space: SearchSpace) -> nao.Controller:
    """The controller for a space's tokens; those of (input, operation) pairs are read together."""
    per_step = 2 if space.decisions % 2 == 0 else 1
    return nao.Controller(space.token_ranges, space.vocabulary, tokens_per_step=per_step)


def nao_strategy(space: SearchSpace, settings: Settings, *, accept=None) -> Strategy:
    """The NAO strategy on a space.

    Args:
      space: the search space.
      settings: the settings.
      accept: function from a pool to bool[P]; others are never proposed.
    """
    controller = controller_of(space)
    capacity = settings.capacity

    def init(key):
        pool = np.zeros((0, space.decisions), np.int32)
        return known_of(key, pool, np.zeros(0, np.float32))

    def known_of(key, pool, scores):
        """What is known before the first epoch of a fit."""
        fit = nao.begin_fit(controller, key)
        key = np.asarray(jax.random.key_data(key))
        return {"fit": fit, "key": key, "pool": pool, "scores": scores}

    def tell(state, key, pool, scores, on_part=lambda state, done, total: None):
        check_capacity(pool, capacity)
        split_key, exchange_key, fit_key = jax.random.split(key, 3)
        told = known_of(fit_key, pool, scores)
        if not all(np.array_equal(state[name], told[name]) for name in ("key", "pool", "scores")):
            state = told
        span = Range.of(scores)
        targets = span.shares(scores).astype(np.float32)
        order = np.argsort(np.asarray(jax.random.uniform(split_key, (capacity,)))[: len(pool)])
        held = max(1, round(len(pool) * settings.held_out)) if len(pool) > 1 else 0
        test, fit = order[:held], order[held:]
        copies = np.tile(pool[fit], (settings.exchanges, 1))
        rows = padded(copies, capacity * settings.exchanges)
        tokens = space.to_tokens(space.exchange(exchange_key, rows))
        continue_fit = functools.partial(
            nao.continue_fit,
            controller,
            key=fit_key,
            tokens=jnp.asarray(tokens),
            targets=jnp.asarray(padded(np.tile(targets[fit], settings.exchanges), len(rows))),
            count=len(copies),
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            trade_off=settings.trade_off,
        )
        while (epoch := int(state["fit"].epoch)) < settings.epochs:
            state = state | {"fit": continue_fit(state["fit"])}
            on_part(state, epoch + 1, settings.epochs)
        params, losses = state["fit"].params, state["fit"].losses
        known = space.to_tokens(padded(pool, capacity))
        predicted = np.asarray(nao.predict(controller, params, known))[: len(pool)]
        decoded = np.asarray(nao.reconstruct(controller, params, known))[: len(pool)]
        facts = {
            "controller_mse": float(losses["mse"]),
            "controller_nll": float(losses["nll"]),
            "held_out_pairwise_accuracy": pairwise_accuracy(predicted[test], targets[test]),
            "held_out_reconstruction": float(np.mean(decoded[test] == known[: len(pool)][test])),
            "held_out_scores": scores[test].tolist(),
            "held_out_predicted": span.scores(predicted[test]).tolist(),  # of them
        }
        return state, facts

    def ask(state, key, size, seen):
        moving = best(state["pool"], state["scores"], settings.seeds)
        seeds = space.to_tokens(padded(moving, min(settings.seeds, capacity)))
        found, known, refused, decoded, step_size = [], set(seen), 0, 0, 0
        repeated, invalid, options = 0, 0, np.array(space.options)
        while len(found) < size and step_size < MAX_STEP_SIZE:
            step_size += 1
            moved = nao.ascend(controller, state["fit"].params, seeds, step_size)
            pool = np.asarray(space.from_tokens(moved))[: len(moving)]
            decoded += len(pool)
            invalid += int(np.sum(((pool < 0) | (pool >= options)).any(1)))
            fresh = space.unseen(pool, known)
            repeated += len(pool) - len(fresh)
            if accept is not None and len(fresh):
                kept = np.asarray(accept(fresh))
                refused += int(np.sum(~kept))
                fresh = fresh[kept]
            fresh = fresh[: size - len(found)]
            known.update(space.keys(fresh))
            found.extend(fresh)
        pool = np.array(found, np.int32).reshape(-1, space.decisions)
        # The ascent may run dry; the round keeps its size by random architectures.
        pool, drawn = filled_up(space, key, pool, size, seen=seen, accept=accept)
        facts = {
            "decoded": decoded,
            "decoded_new": len(found),
            "decoded_repeated": repeated,
            "decoded_invalid": invalid,  # 0: the decoder can emit nothing else than architectures
            "decoded_beyond_limit": refused,
            "largest_step_size": step_size,
            "filled_at_random": drawn,
        }
        return pool, facts

    return Strategy("nao", init, tell, ask)

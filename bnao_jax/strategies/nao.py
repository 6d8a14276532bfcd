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
from bnao_jax.decisions import Decisions
from bnao_jax.ranking import pairwise_accuracy
from bnao_jax.settings import (
    ABOVE_ZERO,
    ARCHITECTURES,
    SHARE,
    SWITCH,
    SettingError,
    Settings,
    setting,
    whole,
)
from bnao_jax.strategies.strategy import Range, Strategy, best, check_capacity, filled_up, padded

MAX_STEP_SIZE = 50


@dataclasses.dataclass(frozen=True)
class NaoSettings(Settings):
    """How NAO learns and proposes; the defaults are the paper's."""

    parents: int = setting(100, whole(1, ARCHITECTURES), "K, best architectures moved uphill")
    exchanges: int = setting(10, whole(1), "equivalent rewritings of each architecture to fit")
    held_out: float = setting(0.1, SHARE, "share of the pool to test the controller on")
    epochs: int = setting(1_000, whole(1), "of each fit")
    batch_size: int = setting(100, whole(1), "rewritten architectures")
    learning_rate: float = setting(1e-3, ABOVE_ZERO, "of Adam")
    trade_off: float = setting(0.8, SHARE, "weight of the scores' error against the decoder's")
    carried: bool = setting(
        True, SWITCH, "a fit begins with the weights of the one before, not with new ones"
    )

    def least_bytes(self, population, length) -> dict:
        """Least memory of a fit by the fields that ask for it; `length` is D."""
        return {
            "exchanges": 8 * length * population * self.exchanges,
            "batch_size": 128 * length * self.batch_size,  # embedded
        }

    def check_pool(self, size):
        """Raises SettingError where nothing of a pool is left to fit the controller to."""
        if max(1, round(size * self.held_out)) >= size:
            raise SettingError(
                f"held_out={self.held_out} of config.search.initial={size} leaves none to fit the "
                "controller to"
            )


def controller_of(decisions: Decisions) -> nao.Controller:
    """The controller for a space's tokens; those of (input, operation) pairs are read together."""
    per_step = 2 if decisions.length % 2 == 0 else 1
    return nao.Controller(decisions.token_ranges, decisions.vocabulary, tokens_per_step=per_step)


def nao_strategy(
    decisions: Decisions, settings: NaoSettings | None = None, *, capacity: int, accept=None
) -> Strategy:
    """The NAO strategy on a space.

    Args:
      decisions: those of the space.
      settings: the settings; the paper's by default.
      capacity: most architectures it will ever be told; pools are padded to it, so that the
        controller compiles once.
      accept: function from a pool to bool[P]; others are never proposed.
    """
    controller = controller_of(decisions)
    settings = NaoSettings() if settings is None else settings

    def init(key):
        pool = np.zeros((0, decisions.length), np.int32)
        return fresh_state(key, pool, np.zeros(0, np.float32))

    def fresh_state(key, pool, scores):
        """The state before the first epoch of a fit."""
        fit = nao.begin_fit(controller, key)
        key = np.asarray(jax.random.key_data(key))
        return {"fit": fit, "key": key, "pool": pool, "scores": scores}

    def tell(state, key, pool, scores, on_part=lambda state, done, total: None):
        check_capacity(pool, capacity)
        split_key, exchange_key, fit_key = jax.random.split(key, 3)
        fresh = fresh_state(fit_key, pool, scores)
        if not all(np.array_equal(state[name], fresh[name]) for name in ("key", "pool", "scores")):
            if settings.carried and len(state["pool"]):
                weights = state["fit"].params
                fresh["fit"] = fresh["fit"]._replace(params=weights)
            state = fresh
        span = Range.of(scores)
        targets = span.shares(scores).astype(np.float32)
        order = np.argsort(np.asarray(jax.random.uniform(split_key, (capacity,)))[: len(pool)])
        held = max(1, round(len(pool) * settings.held_out)) if len(pool) > 1 else 0
        test, fit = order[:held], order[held:]
        copies = np.tile(pool[fit], (settings.exchanges, 1))
        rows = padded(copies, capacity * settings.exchanges)
        tokens = decisions.to_tokens(decisions.exchange(exchange_key, rows))
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
        sequences, size = decisions.to_tokens(padded(pool, capacity)), len(pool)
        predicted = np.asarray(nao.predict(controller, params, sequences))[:size]
        same = np.asarray(nao.reconstruct(controller, params, sequences)) == sequences
        facts = {
            "controller_mse": float(losses["mse"]),
            "controller_nll": float(losses["nll"]),
            "held_out_pairwise_accuracy": pairwise_accuracy(predicted[test], targets[test]),
            "held_out_reconstruction": float(np.mean(same[:size][test])),
            "held_out_scores": scores[test].tolist(),
            "held_out_predicted": span.scores(predicted[test]).tolist(),  # of them
        }
        return state, facts

    def ask(state, key, size, seen):
        parents = best(state["pool"], state["scores"], settings.parents)
        tokens = decisions.to_tokens(padded(parents, min(settings.parents, capacity)))
        proposals, seen_now, refused, decoded, step_size = [], set(seen), 0, 0, 0
        repeated, invalid, options = 0, 0, np.array(decisions.options)
        while len(proposals) < size and step_size < MAX_STEP_SIZE:
            step_size += 1
            moved = nao.ascend(controller, state["fit"].params, tokens, step_size)
            pool = np.asarray(decisions.from_tokens(moved))[: len(parents)]
            decoded += len(pool)
            invalid += int(np.sum(((pool < 0) | (pool >= options)).any(1)))
            fresh = decisions.unseen(pool, seen_now)
            repeated += len(pool) - len(fresh)
            if accept is not None and len(fresh):
                kept = np.asarray(accept(fresh))
                refused += int(np.sum(~kept))
                fresh = fresh[kept]
            fresh = fresh[: size - len(proposals)]
            seen_now.update(decisions.keys(fresh))
            proposals.extend(fresh)
        pool = np.array(proposals, np.int32).reshape(-1, decisions.length)
        # The ascent may run dry; the round keeps its size by random architectures.
        pool, drawn = filled_up(decisions, key, pool, size, seen=seen, accept=accept)
        facts = {
            "decoded": decoded,
            "decoded_new": len(proposals),
            "decoded_repeated": repeated,
            "decoded_invalid": invalid,  # 0: the decoder can emit nothing else than architectures
            "decoded_beyond_limit": refused,
            "largest_step_size": step_size,
            "filled_at_random": drawn,
        }
        return pool, facts

    return Strategy("nao", init, tell, ask)

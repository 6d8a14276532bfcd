"""Neural Architecture Optimization: fit a controller to the scores, move the best uphill, decode.

Luo et al., "Neural Architecture Optimization", 2018, https://arxiv.org/abs/1808.07233, in the
balanced one-shot form of Luo, Qin, Chen, 2020, https://arxiv.org/abs/1909.10815, Algorithm 1.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from bnao_jax import controller as nao
from bnao_jax.decisions import Decisions
from bnao_jax.ranking import pairwise_accuracy
from bnao_jax.settings import (
    ABOVE_ZERO,
    ARCHITECTURES,
    AT_LEAST_ZERO,
    KEEP,
    SHARE,
    SWITCH,
    SettingError,
    Settings,
    one_of,
    setting,
    whole,
)
from bnao_jax.strategies.strategy import Range, Strategy, best, check_capacity, filled_up, padded

TARGETS = ("range", "ranks")
AT_ONCE = 512  # candidates that are predicted or bred together
DRAWS = 50  # of mutants, before it is given up


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
    targets: str = setting(
        "range", one_of(TARGETS), "what the predictor learns: shares of the scores' range, or ranks"
    )
    own_tokens: bool = setting(
        False, SWITCH, "each position has tokens of its own; else equal decisions share them"
    )
    embedding_scale: float = setting(1.0, ABOVE_ZERO, "deviation of the first token embeddings")
    step_sizes: int = setting(
        50, whole(0, 1_000), "sizes of the ascent's steps: 1 to this; 0: none"
    )
    passes: int = setting(
        1, whole(1, 100), "ascents, each from the best candidates of the one before, predicted"
    )
    jitter: float = setting(0.0, AT_LEAST_ZERO, "length of the noise that a step adds; outputs: 1")
    mutants: int = setting(0, whole(0, ARCHITECTURES), "candidates mutated from the same parents")
    mutation_rate: float = setting(0.1, KEEP, "probability that a decision of a mutant is redrawn")
    ranked: bool = setting(
        False, SWITCH, "the best candidates by the predictor are proposed, not the first decoded"
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


def controller_of(decisions: Decisions, settings: NaoSettings | None = None) -> nao.Controller:
    """The controller for a space's tokens; those of (input, operation) pairs are read together."""
    settings = NaoSettings() if settings is None else settings
    per_step = 2 if decisions.length % 2 == 0 else 1
    first = first_tokens(decisions, settings.own_tokens)
    return nao.Controller(
        tuple(zip(first, decisions.options, strict=True)),
        max(f + n for f, n in zip(first, decisions.options, strict=True)),
        tokens_per_step=per_step,
        embedding_scale=settings.embedding_scale,
    )


def first_tokens(decisions, own) -> list[int]:
    """The token of option 0 at each decision: the space's, or of their own, one after another."""
    if not own:
        return list(decisions.first_tokens)
    return [1 + sum(decisions.options[:at]) for at in range(decisions.length)]


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
    settings = NaoSettings() if settings is None else settings
    controller = controller_of(decisions, settings)
    first = np.array(first_tokens(decisions, settings.own_tokens), np.int32)[None]
    to_tokens, from_tokens = (lambda pool: pool + first), (lambda tokens: tokens - first)

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
        to_targets, to_scores = _scales(settings.targets, scores)
        targets = to_targets.astype(np.float32)
        order = np.argsort(np.asarray(jax.random.uniform(split_key, (capacity,)))[: len(pool)])
        held = max(1, round(len(pool) * settings.held_out)) if len(pool) > 1 else 0
        test, fit = order[:held], order[held:]
        copies = np.tile(pool[fit], (settings.exchanges, 1))
        rows = padded(copies, capacity * settings.exchanges)
        tokens = to_tokens(np.asarray(decisions.exchange(exchange_key, rows)))
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
        sequences, size = to_tokens(padded(pool, capacity)), len(pool)
        predicted = np.asarray(nao.predict(controller, params, sequences))[:size]
        same = np.asarray(nao.reconstruct(controller, params, sequences)) == sequences
        facts = {
            "controller_mse": float(losses["mse"]),
            "controller_nll": float(losses["nll"]),
            "held_out_pairwise_accuracy": pairwise_accuracy(predicted[test], targets[test]),
            "held_out_reconstruction": float(np.mean(same[:size][test])),
            "held_out_scores": scores[test].tolist(),
            "held_out_predicted": to_scores(predicted[test]).tolist(),  # of them
        }
        return state, facts

    def predicted(params, pool):
        """Predicted targets float32[P] of a pool, in calls of one size."""
        parts = [pool[at : at + AT_ONCE] for at in range(0, len(pool), AT_ONCE)]
        predict = lambda part: nao.predict(controller, params, to_tokens(padded(part, AT_ONCE)))
        return np.concatenate([np.asarray(predict(part))[: len(part)] for part in parts])

    def ask(state, key, size, seen):
        params = state["fit"].params
        jitter_key, mutant_key, random_key = jax.random.split(key, 3)
        parents = best(state["pool"], state["scores"], settings.parents)
        found = _Candidates(decisions, seen, accept)
        wanted = None if settings.ranked else size  # the first so many, or all
        step_size = climb = 0
        starts = parents
        for number in range(settings.passes):
            if number:
                ordered = found.pool[np.argsort(-predicted(params, found.pool), kind="stable")]
                starts = ordered[: settings.parents]
            tokens = to_tokens(padded(starts, min(settings.parents, capacity)))
            for step_size in range(1, settings.step_sizes + 1):
                noise = None
                if settings.jitter:
                    noise, climb = jax.random.fold_in(jitter_key, climb), climb + 1
                moved = nao.ascend(
                    controller, params, tokens, step_size, key=noise, jitter=settings.jitter
                )
                found.add(np.asarray(from_tokens(moved))[: len(starts)], wanted)
                if found.size == wanted:
                    break
            if found.size in (0, wanted):
                break
        decoded_new = found.size
        for draw in range(DRAWS if settings.mutants else 0):
            row_key, change_key = jax.random.split(jax.random.fold_in(mutant_key, draw))
            rows = jax.random.randint(row_key, (AT_ONCE,), 0, len(parents))
            bred = decisions.mutate(change_key, jnp.asarray(parents)[rows], settings.mutation_rate)
            found.add(np.asarray(bred), decoded_new + settings.mutants, decoded=False)
            if found.size == decoded_new + settings.mutants:
                break
        pool, mutated = found.pool, np.arange(found.size) >= decoded_new
        if settings.ranked and len(pool):
            order = np.argsort(-predicted(params, pool), kind="stable")[:size]
            pool, mutated = pool[order], mutated[order]
        pool, mutated = pool[:size], mutated[:size]
        new = len(pool)
        # The ascent may run dry; the round keeps its size by random architectures.
        pool, drawn = filled_up(decisions, random_key, pool, size, seen=seen, accept=accept)
        facts = {
            **found.facts,
            "candidates": found.size,
            "decoded_new": new - int(mutated.sum()),
            "mutants_new": int(mutated.sum()),
            "largest_step_size": step_size,
            "filled_at_random": drawn,
        }
        return pool, facts

    return Strategy("nao", init, tell, ask)


def _scales(kind, scores):
    """(targets [P] within 0..1 of scores [P], a function from such targets to scores)."""
    if kind == "range":
        span = Range.of(scores)
        return span.shares(scores), span.scores
    targets = (stats.rankdata(scores) - 0.5) / len(scores)  # equals share the mean of their ranks
    return targets, lambda shares: np.quantile(scores, np.clip(shares, 0, 1))


class _Candidates:
    """New architectures within the limits, each once, in the order they came."""

    def __init__(self, decisions, seen, accept):
        self._decisions, self._seen, self._accept = decisions, set(seen), accept
        self._rows = []
        names = ("decoded", "decoded_repeated", "decoded_invalid", "decoded_beyond_limit")
        self.facts = dict.fromkeys(names, 0)

    @property
    def size(self) -> int:
        return len(self._rows)

    @property
    def pool(self) -> np.ndarray:
        return np.array(self._rows, np.int32).reshape(-1, self._decisions.length)

    def add(self, pool, wanted, *, decoded=True):
        """Adds what of a pool is new, up to `wanted` in all; None: all."""
        valid = ((pool >= 0) & (pool < np.array(self._decisions.options))).all(1)
        fresh = self._decisions.unseen(pool[valid], self._seen)
        allowed = np.ones(len(fresh), bool)
        if self._accept is not None and len(fresh):
            allowed = np.asarray(self._accept(fresh))
        kept = fresh[allowed][: None if wanted is None else wanted - self.size]
        self._seen.update(self._decisions.keys(kept))
        self._rows.extend(kept)
        if decoded:
            self.facts["decoded"] += len(pool)
            self.facts["decoded_invalid"] += int(np.sum(~valid))
            self.facts["decoded_repeated"] += int(valid.sum()) - len(fresh)
            self.facts["decoded_beyond_limit"] += int(np.sum(~allowed))

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
    WHOLE_SHARE,
    SettingError,
    Settings,
    one_of,
    setting,
    whole,
)
from bnao_jax.strategies.candidates import BRED, DECODED, Candidates
from bnao_jax.strategies.strategy import Range, Strategy, best, check_capacity, filled_up, padded

TARGETS = ("range", "ranks")
AT_ONCE = 512  # candidates that are predicted or bred together
DRAWS = 50  # of mutants, before it is given up


@dataclasses.dataclass(frozen=True)
class NaoSettings(Settings):
    """How NAO learns and proposes; the defaults are the paper's."""

    parents: int = setting(100, whole(1, ARCHITECTURES), "K, best architectures moved uphill")
    exchanges: int = setting(
        10, whole(0), "equivalent rewritings of each architecture to fit; 0: one form of each alone"
    )
    unlabelled: int = setting(
        0, whole(0, ARCHITECTURES), "random architectures without a score that are fitted, too"
    )
    held_out: float = setting(
        0.1, SHARE, "share of the pool to test the controller on; 0: test it on the next round"
    )
    epochs: int = setting(1_000, whole(1), "of each fit, at most")
    steps: int = setting(0, whole(0), "of each fit, about so many at most; 0: as `epochs` says")
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
    decoded: int = setting(
        0, whole(0, ARCHITECTURES), "candidates decoded in a pass, at most; 0: as many as come"
    )
    passes: int = setting(
        1, whole(1, 100), "ascents, each from what is predicted best of parents and candidates"
    )
    jitter: float = setting(0.0, AT_LEAST_ZERO, "length of the noise that a step adds; outputs: 1")
    mutants: int = setting(
        0, whole(0, ARCHITECTURES), "candidates bred in a pass, from what its ascent begins with"
    )
    mutation_rate: float = setting(0.1, KEEP, "probability that a decision of a mutant is redrawn")
    crossed: float = setting(0.0, WHOLE_SHARE, "share of the mutants that two were crossed for")
    ranked: bool = setting(
        False, SWITCH, "the best candidates by the predictor are proposed, not the first decoded"
    )

    def tested(self, size) -> int:
        """How many of a pool are held out."""
        return max(1, round(size * self.held_out)) if self.held_out and size > 1 else 0

    def epochs_of(self, rows) -> int:
        """Epochs of a fit to so many rows."""
        batches = -(-rows // self.batch_size)
        return min(self.epochs, max(1, round(self.steps / batches))) if self.steps else self.epochs

    def least_bytes(self, population, length) -> dict:
        """Least memory of a fit by the fields that ask for it; `length` is D."""
        return {
            "exchanges": 8 * length * population * max(self.exchanges, 1),
            "unlabelled": 8 * length * self.unlabelled,
            "batch_size": 128 * length * self.batch_size,  # embedded
        }

    def check_pool(self, size):
        """Raises SettingError where nothing of a pool is left to fit the controller to."""
        if self.tested(size) >= size:
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


class _Reading:
    """How a controller of some settings reads and writes the architectures of a space."""

    def __init__(self, decisions, settings):
        self.decisions, self.settings = decisions, settings
        self.controller = controller_of(decisions, settings)

    def tokens(self, pool):
        """Tokens of a pool int32[P, D]; without exchanges those of its one form."""
        pool = pool if self.settings.exchanges else self.decisions.canonical(pool)
        return pool + self.controller.first[None]

    def predicted(self, params, pool) -> np.ndarray:
        """Predicted targets float32[P] of a pool, in calls of one size."""
        values = [np.zeros(0, np.float32)]
        for at in range(0, len(pool), AT_ONCE):
            part = pool[at : at + AT_ONCE]
            tokens = self.tokens(padded(part, AT_ONCE))
            values.append(np.asarray(nao.predict(self.controller, params, tokens))[: len(part)])
        return np.concatenate(values)

    def rows_to_fit(self, keys, pool, targets, capacity) -> dict:
        """Arguments of `controller.continue_fit` for at most `capacity` scored architectures.

        `keys`: of the exchanges, and of the architectures without a score.
        """
        exchange_key, other_key = keys
        rewritten, unlabelled = max(self.settings.exchanges, 1), self.settings.unlabelled
        others = np.asarray(self.decisions.random(other_key, unlabelled))
        copies = np.concatenate([np.tile(pool, (rewritten, 1)), others])
        unknown = np.full(unlabelled, np.nan, np.float32)
        wanted = np.concatenate([np.tile(targets, rewritten), unknown])
        rows = padded(copies, capacity * rewritten + unlabelled)
        if self.settings.exchanges:
            rows = np.asarray(self.decisions.exchange(exchange_key, rows))
        return {
            "tokens": jnp.asarray(self.tokens(rows)),
            "targets": jnp.asarray(padded(wanted, len(rows))),
            "count": len(copies),
        }

    def ascend(self, params, starts, key, found, most, capacity) -> int:
        """Adds to `found` what steps of growing size up from `starts` decode to, up to `most`.

        Returns the last size.
        """
        settings, step_size = self.settings, 0
        tokens = self.tokens(padded(starts, min(settings.parents, capacity)))
        for step_size in range(1, settings.step_sizes + 1):
            noise = jax.random.fold_in(key, step_size) if settings.jitter else None
            moved = nao.ascend(
                self.controller, params, tokens, step_size, key=noise, jitter=settings.jitter
            )
            pool = np.asarray(moved)[: len(starts)] - self.controller.first[None]
            found.add(pool, DECODED, most)
            if found.size == most:
                break
        return step_size


def _breed(decisions, settings, starts, key, found):
    """Adds `mutants` children of `starts` to `found`, fewer where so many are not found."""
    most, rows = found.size + settings.mutants, padded(starts, settings.parents)
    for draw in range(DRAWS if settings.mutants else 0):
        drawn_key, rate = jax.random.fold_in(key, draw), settings.mutation_rate
        bred = _children(decisions, drawn_key, rows, len(starts), rate, settings.crossed)
        found.add(np.asarray(bred), BRED, most)
        if found.size == most:
            break


@functools.partial(jax.jit, static_argnums=0)
def _children(decisions, key, parents, count, mutation_rate, crossed):
    """Children int32[AT_ONCE, D] of the first `count` of `parents` [K, D]."""
    row_key, cross_key, change_key = jax.random.split(key, 3)
    mothers, fathers = parents[jax.random.randint(row_key, (2, AT_ONCE), 0, count)]
    are_crossed = (jnp.arange(AT_ONCE) < crossed * AT_ONCE)[:, None]
    bred = jnp.where(are_crossed, decisions.crossover(cross_key, mothers, fathers), mothers)
    return decisions.mutate(change_key, bred, mutation_rate)


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
    reading = _Reading(decisions, settings)

    def init(key):
        pool, nothing = np.zeros((0, decisions.length), np.int32), np.zeros(0, np.float32)
        return fresh_state(key, pool, nothing, nothing)

    def fresh_state(key, pool, scores, foreseen):
        """The state before the first epoch of a fit; `foreseen` by the one before, NaN if known."""
        fit = nao.begin_fit(reading.controller, key)
        key = np.asarray(jax.random.key_data(key))
        return {"fit": fit, "key": key, "pool": pool, "scores": scores, "foreseen": foreseen}

    def foresight(state, pool):
        """Scores float32[P] that the last fit predicts of a pool, NaN for what it was fitted to."""
        foreseen = np.full(len(pool), np.nan, np.float32)
        if len(state["pool"]) and not settings.held_out:
            known = set(decisions.keys(state["pool"]))
            new = np.array([key not in known for key in decisions.keys(pool)])
            _, to_scores = _scales(settings.targets, state["scores"])
            foreseen[new] = to_scores(reading.predicted(state["fit"].params, pool[new]))
        return foreseen

    def tell(state, key, pool, scores, on_part=lambda state, done, total: None):
        check_capacity(pool, capacity)
        split_key, exchange_key, other_key, fit_key = jax.random.split(key, 4)
        kept = {"key": np.asarray(jax.random.key_data(fit_key)), "pool": pool, "scores": scores}
        if not all(np.array_equal(state[name], value) for name, value in kept.items()):
            fresh = fresh_state(fit_key, pool, scores, foresight(state, pool))
            if settings.carried and len(state["pool"]):
                fresh["fit"] = fresh["fit"]._replace(params=state["fit"].params)
            state = fresh
        to_targets, to_scores = _scales(settings.targets, scores)
        targets = to_targets.astype(np.float32)
        order = np.argsort(np.asarray(jax.random.uniform(split_key, (capacity,)))[: len(pool)])
        test, fit = np.split(order, [settings.tested(len(pool))])
        draw_keys = exchange_key, other_key
        data = reading.rows_to_fit(draw_keys, pool[fit], targets[fit], capacity)
        continue_fit = functools.partial(
            nao.continue_fit,
            reading.controller,
            key=fit_key,
            **data,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            trade_off=settings.trade_off,
        )
        epochs = settings.epochs_of(data["count"])
        while (epoch := int(state["fit"].epoch)) < epochs:
            state = state | {"fit": continue_fit(state["fit"])}
            on_part(state, epoch + 1, epochs)
        params, losses = state["fit"].params, state["fit"].losses
        facts = {"controller_mse": float(losses["mse"]), "controller_nll": float(losses["nll"])}
        if len(test):
            sequences = reading.tokens(padded(pool, capacity))
            same = np.asarray(nao.reconstruct(reading.controller, params, sequences)) == sequences
            facts["held_out_reconstruction"] = float(np.mean(same[test]))
            guesses = to_scores(reading.predicted(params, pool[test]))
        else:
            test = np.flatnonzero(np.isfinite(state["foreseen"]))
            guesses = state["foreseen"][test]
        if len(test):
            facts |= {
                "held_out_pairwise_accuracy": pairwise_accuracy(guesses, scores[test]),
                "held_out_scores": scores[test].tolist(),
                "held_out_predicted": guesses.tolist(),  # of them
            }
        return state, facts

    def ask(state, key, size, seen):
        params = state["fit"].params
        predicted = functools.partial(reading.predicted, params)
        climb_key, breed_key, random_key = jax.random.split(key, 3)
        parents = best(state["pool"], state["scores"], settings.parents)
        found = Candidates(decisions, seen, accept)
        most = None if settings.ranked else size  # the first so many, or all
        starts, values, of_parents = parents, np.zeros(0), predicted(parents)
        for number in range(settings.passes):
            if number:
                values = np.append(values, predicted(found.pool[len(values) :]))
                both = np.concatenate([parents, found.pool])
                starts = best(both, np.append(of_parents, values), settings.parents)
            climb = jax.random.fold_in(climb_key, number)
            decoded = found.size + settings.decoded if settings.decoded else most
            decoded = decoded if most is None else min(decoded, most)
            size_reached = reading.ascend(params, starts, climb, found, decoded, capacity)
            if found.size == most:
                break
            _breed(decisions, settings, starts, jax.random.fold_in(breed_key, number), found)
        pool, decoded = found.pool, found.of(DECODED)
        if settings.ranked and len(pool):
            values = np.append(values, predicted(pool[len(values) :]))
            order = np.argsort(-values, kind="stable")
            pool, decoded = pool[order], decoded[order]
        pool, decoded = pool[:size], decoded[:size]
        new = len(pool)
        # The candidates may be too few; the round keeps its size by random architectures.
        pool, drawn = filled_up(decisions, random_key, pool, size, seen=seen, accept=accept)
        facts = {
            **found.facts,
            "candidates": found.size,
            "decoded_new": int(decoded.sum()),
            "mutants_new": new - int(decoded.sum()),
            "largest_step_size": size_reached,
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
    known, rows = np.unique(scores, return_index=True)
    # Between the scores that occur in equal parts, so that no two predictions become one.
    return targets, lambda shares: np.interp(shares, targets[rows], known)

"""How well one list of numbers ranks another, and the settings of ranking jobs."""

import dataclasses

import numpy as np
import scipy  # loads scipy.stats at its first use: it takes a quarter of a launcher's start

from bnao_jax.comparison import interval
from bnao_jax.sampler import NAMES
from bnao_jax.settings import ARCHITECTURES, TEXT, Settings, setting, several, whole

TOPS = (0.01, 0.05, 0.1)  # shares of the lists


@dataclasses.dataclass(frozen=True)
class RankSettings(Settings):
    """Settings of a job in which shared weights rank a table."""

    column: str = setting("cifar10_test_acc_200ep", TEXT, "of the truth")
    architectures: int = setting(
        0, whole(0, ARCHITECTURES), "random ones that are scored; 0: all. All are trained"
    )
    points: int = setting(
        5,
        whole(1, 1_000),
        "times in the training, evenly, that scores are taken; the last is its end",
    )
    point_architectures: int = setting(500, whole(2, ARCHITECTURES), "scored at the others")


@dataclasses.dataclass(frozen=True)
class StudySettings(Settings):
    """How long training, samplers and similar sizes are compared."""

    column: str = setting("cifar10_test_acc_200ep", TEXT, "of the truth, where there is one")
    architectures: int = setting(50, whole(2, ARCHITECTURES), "in each of the two pools")
    candidates: int = setting(
        1_000,
        whole(4, ARCHITECTURES),
        "random ones; those nearest the median size are the similar ones",
    )
    epochs: tuple[int, ...] = setting(
        (5, 10, 20, 30, 50),
        several(whole(1).holds, "whole numbers of at least 1"),
        "of the supernets; each length is trained from the beginning",
    )
    samplers: tuple[str, ...] = setting(
        ("uniform", "proportional"),
        several(NAMES.__contains__, f"of {list(NAMES)}"),
        "of the supernets; the others are compared with the first",
    )


def pairwise_accuracy(predicted, actual) -> float:
    """Share of pairs that both lists put in the same order, 0..1; NaN with fewer than two.

    A pair tied in one list and not in the other counts one half, so that chance is 0.5; tied in
    both it counts as right (Luo et al., "Neural Architecture Optimization", 2018,
    https://arxiv.org/abs/1808.07233, whose code counts about half of the former as right).
    """
    right, pairs = _right_pairs(*_vectors(predicted, actual))
    return right / pairs if pairs else float("nan")


def pairwise_accuracy_within(predicted, actual, groups) -> float:
    """`pairwise_accuracy` among the pairs whose members are of one group, for example of one size.

    `groups` are integers [P]. NaN where no group has two members.
    """
    predicted, actual = _vectors(predicted, actual)
    _, groups = np.unique(np.asarray(groups), return_inverse=True)
    order = np.argsort(groups, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    counts = [_right_pairs(predicted[part], actual[part]) for part in parts]
    right, pairs = np.sum(counts, 0)
    return float(right / pairs) if pairs else float("nan")


def kendall_tau(predicted, actual) -> float:
    """Kendall's tau b of two lists, -1..1, ties corrected for; NaN with fewer than two.

    Kendall, "The Treatment of Ties in Ranking Problems", 1945. NaN, too, where one list is
    constant.
    """
    predicted, actual = _vectors(predicted, actual)
    if len(predicted) < 2:
        return float("nan")
    return float(scipy.stats.kendalltau(predicted, actual).statistic)


def spearman(predicted, actual) -> float:
    """Spearman's rank correlation, -1..1; NaN with fewer than two or a constant list."""
    predicted, actual = _vectors(predicted, actual)
    if len(predicted) < 2 or np.ptp(predicted) == 0 or np.ptp(actual) == 0:
        return float("nan")
    return float(scipy.stats.spearmanr(predicted, actual).statistic)


def precision_at_top(predicted, actual, share) -> float:
    """The part, 0..1, of the best `share` (0..1) by prediction that is among the best by truth.

    The shares are rounded to whole numbers, at least one. Where equals compete for the last places
    it is the mean over all ways to choose among them.
    """
    predicted, actual = _vectors(predicted, actual)
    size = max(1, round(share * len(actual)))
    return float(np.sum(_chances(predicted, size) * _chances(actual, size)) / size)


def _chances(values, size):
    """The probability of each entry to be among the `size` largest, equals being drawn from."""
    least = np.sort(values)[len(values) - size]
    above, equal = values > least, values == least
    return above + equal * (size - above.sum()) / equal.sum()


def figures(predicted, actual, groups=None) -> dict[str, float]:
    """All measures of how `predicted` [P] ranks `actual` [P]; higher is better in both.

    `groups` int[P]: also the pairwise accuracy within them, for example among equal sizes, which
    size itself cannot rank.
    """
    predicted, actual = _vectors(predicted, actual)
    better = np.argsort(-actual, kind="stable")[: len(actual) // 2]
    measures = {
        "kendall_tau": kendall_tau(predicted, actual),
        "spearman": spearman(predicted, actual),
        "pairwise_accuracy": pairwise_accuracy(predicted, actual),
        "kendall_tau_better_half": kendall_tau(predicted[better], actual[better]),
        "accuracy_of_best": _mean_of_best(predicted, actual),
    }
    for share in TOPS:
        name = f"precision_at_top_{round(100 * share)}_percent"
        measures[name] = precision_at_top(predicted, actual, share) if len(actual) else float("nan")
    if groups is not None:
        within = pairwise_accuracy_within(predicted, actual, groups)
        measures["pairwise_accuracy_within_groups"] = within
    return measures


def _mean_of_best(predicted, actual):
    """The mean truth of what is predicted best, of all of them where several are."""
    if not len(actual):
        return float("nan")
    return float(actual[predicted == predicted.max()].mean())


def mean_and_reach(values) -> tuple[float, float]:
    """Mean over independent runs, and how far its 95 % t-interval reaches; NaN for one run."""
    mean, _, high = interval(values)
    return mean, high - mean


def standardised(values, among=None):
    """Values minus the mean of `among`, over its standard deviation; zeros where it is constant.

    `among` are the values themselves by default.
    """
    values = np.asarray(values, np.float64)
    among = values if among is None else np.asarray(among, np.float64)
    if np.ptp(among) == 0:  # whose standard deviation may be a rounding error
        return np.zeros_like(values)
    return (values - np.mean(among)) / np.std(among)


def rank_sum(*lists):
    """The sum of each entry's ranks in the lists, ties sharing the mean rank: float64[P]."""
    return np.sum([scipy.stats.rankdata(values) for values in lists], 0)


def _right_pairs(predicted, actual):
    """Pairs in the same order in both lists, and all pairs; without writing the pairs down."""
    count = len(predicted)
    pairs = count * (count - 1) // 2
    if count < 2:
        return 0, 0
    tied = [_tied_pairs(values) for values in (predicted, actual)]
    both = _tied_pairs(np.stack([predicted, actual], 1))
    # tau b = (right - wrong) / sqrt(untied * untied) over the pairs that are tied in neither.
    scale = np.sqrt(float(pairs - tied[0])) * np.sqrt(float(pairs - tied[1]))
    tau = scipy.stats.kendalltau(predicted, actual).statistic if scale > 0 else 0.0
    strict = pairs - tied[0] - tied[1] + both
    tied_once = tied[0] + tied[1] - 2 * both
    return (strict + round(tau * scale)) // 2 + both + tied_once / 2, pairs


def _tied_pairs(values):
    _, counts = np.unique(values, axis=0, return_counts=True)
    return int(np.sum(counts * (counts - 1) // 2))


def _vectors(predicted, actual):
    predicted, actual = np.asarray(predicted), np.asarray(actual)
    if predicted.shape != actual.shape or predicted.ndim != 1:
        raise ValueError(f"two vectors of one length, not {predicted.shape} and {actual.shape}")
    return predicted, actual

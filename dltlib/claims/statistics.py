"""From a measure to a verdict: comparisons, intervals, and how parts make up a claim."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from dltlib.claims.evidence import Evidence, Undecided
from dltlib.claims.measures import Measure
from dltlib.claims.thresholds import THRESHOLDS, Thresholds

VERDICTS = REPRODUCED, NOT_REPRODUCED, UNDECIDED = "reproduced", "not reproduced", "undecided"
NOT_MEASURED = "not measured"
OUTCOMES = (*VERDICTS, NOT_MEASURED)
"""Verdicts as people are told them."""
POINTS, PERCENT, SLOPE = "points", "%", "points per halving of density"
ERRORS = "% of the errors"  # mended; less than none where more are made
FEWEST = THRESHOLDS.least_seeds  # values with an interval
MANY = 50  # seeds: what takes more is as good as at its threshold


@dataclass(frozen=True)
class Comparison:
    """An effect (``measure``, less ``reference`` where there is one) and the bar it must pass.

    ``bar`` names one of `Thresholds`, if it is not 0: a number, or a margin, by which the effect
    may then lie below 0. ``paper`` is the paper's figure for the same effect.
    """

    name: str
    measure: Measure
    reference: Measure | None = None
    bar: str | None = None
    unit: str = POINTS
    paper: float | None = None


@dataclass(frozen=True)
class Part:
    """A comparison with its numbers and verdict; what could not be measured is NaN.

    ``values`` are the effects of the single seeds, of which ``effect`` is the mean.
    """

    name: str
    unit: str
    effect: float
    low: float
    high: float
    bar: float
    values: tuple[float, ...]
    paper: float | None
    verdict: str
    reason: str

    @property
    def seeds(self) -> int:
        """How many seeds were compared."""
        return len(self.values)

    @property
    def outcome(self) -> str:
        """Its verdict for people: what has no number is not even undecided."""
        return _outcome(self.verdict, self.effect)

    def ends(self) -> tuple[float, float]:
        """The interval to be shown: a share stays within 0 to 100 %, though Student's may not."""
        if self.unit != PERCENT or self.effect < 0:
            return self.low, self.high
        return max(self.low, 0.0), min(self.high, 100.0)


@dataclass(frozen=True)
class Result:
    """What the records say about one claim on one network, and which records those are."""

    claim: str
    network: str
    verdict: str
    reason: str
    weakest: Part
    parts: tuple[Part, ...]
    preset: str | None
    records: tuple[str, ...]

    @property
    def outcome(self) -> str:
        """Its verdict for people: where no record gives a number, be it few seeds', or none that
        may be compared, it is not even undecided."""
        return _outcome(self.verdict, self.weakest.effect)


def _outcome(verdict: str, effect: float) -> str:
    return NOT_MEASURED if verdict == UNDECIDED and math.isnan(effect) else verdict


class Interval(NamedTuple):
    """A mean and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


def interval(
    values: Iterable[float], confidence: float = THRESHOLDS.confidence, fewest: int = FEWEST
) -> Interval:
    """Student's interval of the mean of independent values, one for each seed.

    For differences paired by seed this is the paired t interval. It takes the values for normally
    distributed, and with few seeds it is wide: 1.24 standard deviations to either side of the
    mean for five, 2.5 for three. Fewer than ``fewest`` have none (its ends are NaN): of two, which
    would reach over nine deviations, a page says more by showing both.

    >>> [round(end, 2) for end in claims.interval([1.0, 2.0, 3.0])]
    [2.0, -0.48, 4.48]
    """
    from scipy import stats

    sample = np.asarray(list(values), dtype=float)
    mean = float(sample.mean()) if len(sample) else math.nan
    if len(sample) < max(2, fewest):  # one value has no scatter
        return Interval(mean, math.nan, math.nan)
    error = float(stats.sem(sample))
    if error == 0:  # Student's distribution has no interval of no width
        return Interval(mean, mean, mean)
    low, high = stats.t.interval(confidence, len(sample) - 1, mean, error)
    return Interval(mean, float(low), float(high))


def half_width(deviation: float, seeds: int, confidence: float = THRESHOLDS.confidence) -> float:
    """How far `interval` reaches to either side, for values of that standard deviation.

    >>> round(claims.half_width(1.0, 5), 2)
    1.24
    """
    from scipy import stats

    return float(stats.t.ppf((1 + confidence) / 2, seeds - 1)) * deviation / math.sqrt(seeds)


def rank_correlation(left: Iterable[float], right: Iterable[float]) -> Interval:
    """Spearman's correlation of two rankings, with the interval of Fisher's transformation.

    With the standard error of Bonett and Wright (2000); it is wide for few points, and holds where
    these are a sample of those that might have been ranked. Fewer than five points have none.

    >>> round(claims.rank_correlation([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]).mean, 2)
    0.8
    """
    from scipy import stats

    pairs = np.array([list(left), list(right)], dtype=float)
    count = pairs.shape[1]
    known = float(stats.spearmanr(pairs[0], pairs[1]).statistic)
    if count < 5 or abs(known) == 1:
        return Interval(known, math.nan, math.nan)
    error = math.sqrt((1 + known**2 / 2) / (count - 3))
    reach = float(stats.norm.ppf((1 + THRESHOLDS.confidence) / 2)) * error
    return Interval(known, *(math.tanh(math.atanh(known) + side * reach) for side in (-1, 1)))


def compare(comparison: Comparison, evidence: Evidence) -> Part:
    """Measure one comparison and give its verdict.

    >>> lead = claims.Comparison("lead", *(claims.ticket("criteria", arm) for arm in plan.arms))
    >>> part = claims.compare(lead, evidence)
    >>> part.verdict, round(part.effect, 2)
    ('reproduced', 5.0)
    """
    limits = evidence.limits
    bar = getattr(limits, comparison.bar) if comparison.bar else 0.0
    values, level = pd.Series(dtype=float), math.nan
    reason = ""
    try:
        values = comparison.measure(evidence)
        if comparison.reference is not None:
            reference = comparison.reference(evidence)
            values = (values - reference).dropna()  # the seeds that both have
            level = float(reference[values.index].mean())
    except Undecided as undecided:
        values, reason = values[:0], str(undecided)
    if isinstance(bar, tuple):  # a margin; unknown if the reference is
        share, most = bar
        bar = math.nan if math.isnan(level) else 0.0 - min(share * (100 - level), most)
    mean, low, high = interval(values, limits.confidence, limits.least_seeds)
    verdict, why = _verdict(low, high, bar, len(values), limits)
    return Part(
        name=comparison.name,
        unit=comparison.unit,
        effect=mean,
        low=low,
        high=high,
        bar=bar,
        values=tuple(map(float, values)),
        paper=comparison.paper,
        verdict=verdict,
        reason=reason or why,
    )


def at_confidence(part: Part, confidence: float) -> Part:
    """A comparison judged by an interval of another confidence.

    >>> wider = claims.at_confidence(result.weakest, 0.99)
    >>> wider.low < result.weakest.low
    True
    """
    _, low, high = interval(part.values, confidence)
    verdict, why = _verdict(low, high, part.bar, part.seeds, THRESHOLDS)
    kept = part.reason if part.seeds == 0 else why
    return replace(part, low=low, high=high, verdict=verdict, reason=kept)


def seeds_to_decide(part: Part) -> int | None:
    """How many seeds would bring a comparison's interval off its threshold, if the mean stayed
    where it is and seeds went on to scatter as these do; None for more than `MANY`.

    Only of a comparison that has an interval; fewer than three seeds have no scatter to go by.

    >>> lead = claims.Comparison("lead", *(claims.ticket("criteria", arm) for arm in plan.arms))
    >>> claims.seeds_to_decide(claims.compare(lead, evidence))
    3
    """
    deviation, distance = float(np.std(part.values, ddof=1)), abs(part.effect - part.bar)
    for seeds in range(max(part.seeds, FEWEST), MANY + 1):
        if half_width(deviation, seeds) < distance:
            return seeds
    return None


def _verdict(
    low: float, high: float, bar: float, seeds: int, limits: Thresholds
) -> tuple[str, str]:
    if seeds < limits.least_seeds:
        return UNDECIDED, f"needs at least {limits.least_seeds} seeds, has {seeds}"
    if low > bar:
        return REPRODUCED, ""
    if high < bar:
        return NOT_REPRODUCED, ""
    return UNDECIDED, "the interval spans the threshold"


def combine(parts: Sequence[Part]) -> tuple[str, str, Part]:
    """Verdict and reason of a claim, and its weakest part among those that decide it.

    >>> lead = claims.Comparison("lead", *(claims.ticket("criteria", arm) for arm in plan.arms))
    >>> claims.combine([claims.compare(lead, evidence)])[0]
    'reproduced'
    """
    for verdict in (NOT_REPRODUCED, UNDECIDED, REPRODUCED):
        deciding = [part for part in parts if part.verdict == verdict]
        if deciding:
            # Parts without a number come last: they say least about what is weak.
            weakest = min(
                deciding, key=lambda part: (math.isnan(part.effect), part.effect - part.bar)
            )
            reason = weakest.reason
            same = {part.reason for part in parts} == {reason}
            if len(parts) > 1 and verdict != REPRODUCED and not (same and reason):
                share = f"{len(deciding)} of {len(parts)} parts"
                reason = f"{share}: {reason}" if reason else share
            return verdict, reason, weakest
    raise ValueError("a claim has at least one comparison")

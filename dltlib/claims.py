"""The paper's claims as functions of records: effect, interval, verdict (section 7 of the paper).

A claim is one or more comparisons; a comparison is an effect, one number for each seed, that must
lie above a bar. All of them are written so that higher is better for the claim, in percentage
points of test accuracy at early stopping unless their unit says otherwise. Arms that share a seed
share initial weights and data order, so differences are taken seed by seed, and the interval of
their mean is Student's (`interval`).

A comparison is *reproduced* if its whole interval lies above its bar, *not reproduced* if its whole
interval lies below, and *undecided*, with the reason, otherwise: no record, too few seeds, pruned
too little, or an interval that spans the bar. A claim is reproduced if all its comparisons are,
not reproduced if any of them is not, and undecided otherwise. Its effect is that of its weakest
comparison among those that decide its verdict: the one whose effect lies lowest over its bar.

The bars, windows and claims below were written and committed before any of the book's records on
MNIST or CIFAR-10 was made: the history of this file and of ``book/records`` shows it. (Small trial
records on digits, which the paper does not use, served to try the code.)
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dltlib import paths, records
from dltlib.errors import UserError
from dltlib.records import Record

VERDICTS = REPRODUCED, NOT_REPRODUCED, UNDECIDED = "reproduced", "not reproduced", "undecided"
NETWORKS = ("fc", "conv2", "conv4", "conv6")
ALL_NETWORKS = "all"  # in place of a network, for what compares networks with one another
PRESETS = ("paper", "cpu", "tiny")  # the largest that has records is read
POINTS, PERCENT, SLOPE = "points", "%", "points per halving of density"


# --- thresholds -----------------------------------------------------------------------------


def _stated(default: object, meaning: str) -> "dataclasses.Field":
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True)
class Thresholds:
    """Every number that a verdict depends on. Densities are shares of all weights, both ends
    included; margins are pairs (share of the reference's test error, most percentage points).

    A margin relative to the error means the same on MNIST, where a network errs twice in a
    hundred images, and on CIFAR-10, where it errs thirty times; the cap keeps it strict there.
    """

    confidence: float = _stated(0.95, "confidence of every interval")
    least_seeds: int = _stated(3, "fewest seeds for a verdict")
    least_rounds: int = _stated(2, "fewest rounds that must fall into a window of densities")
    low_pruning: tuple[float, float] = _stated((0.4, 0.85), "densities called low pruning")
    moderate_pruning: tuple[float, float] = _stated(
        (0.2, 0.85), "densities called moderate pruning"
    )
    high_pruning: tuple[float, float] = _stated((0.01, 0.1), "densities called high pruning")
    any_pruning: tuple[float, float] = _stated(
        (0.01, 0.85), "densities of claims that name none; below, most networks fall to chance"
    )
    match: tuple[float, float] = _stated(
        (0.1, 1.0), "margin of 'reach', 'as well as', 'match': share of the error, most points"
    )
    close: tuple[float, float] = _stated(
        (0.25, 5.0), "margin of 'come close to': share of the error, most points"
    )
    far_above_chance: float = _stated(
        20.0, "'far better than chance', which is 10 % for ten classes: above this accuracy, %"
    )
    far_better: float = _stated(5.0, "'far better' than another mask: by more than this, points")
    mostly: float = _stated(50.0, "'mostly': more than this share, %")

    def table(self) -> pd.DataFrame:
        """One row for each threshold: its name, value and meaning."""
        return pd.DataFrame(
            [
                (one.name, getattr(self, one.name), one.metadata["meaning"])
                for one in dataclasses.fields(self)
            ],
            columns=["threshold", "value", "meaning"],
        )


THRESHOLDS = Thresholds()


# --- what is read from records --------------------------------------------------------------


class _Undecided(Exception):
    """Why a comparison has no answer."""


@dataclass(frozen=True)
class Evidence:
    """The records that a claim may look at, by (experiment, network), and the thresholds."""

    records: Mapping[tuple[str, str], Record]
    network: str
    limits: Thresholds = THRESHOLDS
    # Comparisons of one claim read the same arms again and again.
    _grids: dict[tuple[str, ...], pd.DataFrame] = field(default_factory=dict, repr=False)

    def table(self, experiment: str, network: str) -> pd.DataFrame:
        """The rows of an experiment on a network."""
        if (experiment, network) not in self.records:
            raise _Undecided(f"no record of {experiment} on {network}")
        return self.records[experiment, network].table

    def grid(
        self,
        experiment: str,
        arm: str,
        column: str = "test_accuracy",
        network: str | None = None,
    ) -> pd.DataFrame:
        """A column of one arm, ``[seed, round]``, shares as percent."""
        network = network or self.network
        key = (experiment, arm, column, network)
        if key not in self._grids:
            rows = self.table(experiment, network)
            rows = rows[rows["arm"] == arm]
            if rows.empty or column not in rows:
                what = arm if rows.empty else f"{column} of {arm}"
                raise _Undecided(f"the record of {experiment} has no {what}")
            self._grids[key] = rows.pivot(index="seed", columns="round", values=column) * 100
        return self._grids[key]

    def window(self, experiment: str, arm: str, name: str) -> list[int]:
        """The rounds whose density, averaged over the seeds, lies in the window of that name.

        Round 0, the dense network, is in none.
        """
        low, high = getattr(self.limits, name)
        density = self.grid(experiment, arm, "density").mean() / 100
        density = density[density.index > 0]
        rounds = density.index[density.between(low, high)].tolist()
        if len(rounds) < self.limits.least_rounds:
            reached = f"{density.min():.2g}" if len(density) else "1 (never pruned)"
            raise _Undecided(
                f"preset too small: {len(rounds)} of {len(density)} rounds have a density from "
                f"{low:g} to {high:g} ({name.replace('_', ' ')}), {self.limits.least_rounds} are "
                f"needed; the record ends at {reached}"
            )
        return rounds


# A measure reads one number for each seed; it raises `_Undecided` if it cannot.
Measure = Callable[[Evidence], pd.Series]


def _known(values: pd.DataFrame | pd.Series, what: str) -> pd.Series:
    """Mean over the rounds; a single missing number makes all of it unknown."""
    missing = values.isna()
    if missing.any(axis=None):
        seeds = missing.any(axis=1) if isinstance(missing, pd.DataFrame) else missing
        named = ", ".join(str(seed) for seed in seeds.index[seeds])
        raise _Undecided(f"no number (NaN) for {what}, seed {named}")
    return values.mean(axis=1) if isinstance(values, pd.DataFrame) else values


def ticket(experiment: str, arm: str, window: str = "any_pruning") -> Measure:
    """Mean test accuracy over the rounds in a window of densities."""

    def read(evidence: Evidence) -> pd.Series:
        rounds = evidence.window(experiment, arm, window)
        return _known(evidence.grid(experiment, arm)[rounds], arm)

    return read


def share_among_pruned(arm: str, column: str) -> Measure:
    """A share (of those pruned, or of the candidates), each round counting by what it pruned."""

    def read(evidence: Evidence) -> pd.Series:
        rounds = evidence.window("criteria", arm, "any_pruning")
        shares = evidence.grid("criteria", arm, column)[rounds]
        pruned = -evidence.grid("criteria", arm, "density").diff(axis=1)[rounds]
        _known(shares, f"{column} of {arm}")
        _known(pruned, f"density of {arm}")
        return (shares * pruned).sum(axis=1) / pruned.sum(axis=1)

    return read


def dense(experiment: str, arm: str = "large_final/rewind/zero") -> Measure:
    """Test accuracy of the dense baseline: round 0, the same for every arm."""

    def read(evidence: Evidence) -> pd.Series:
        grid = evidence.grid(experiment, arm)
        if 0 not in grid:
            raise _Undecided(f"the record of {experiment} has no dense baseline (round 0)")
        return _known(grid[0], "the dense baseline")

    return read


def slope(experiment: str, leader: str, follower: str, window: str = "any_pruning") -> Measure:
    """How many points the leader's lead grows each time the density halves (least squares)."""

    def read(evidence: Evidence) -> pd.Series:
        rounds = evidence.window(experiment, leader, window)
        lead = (evidence.grid(experiment, leader) - evidence.grid(experiment, follower))[rounds]
        _known(lead, f"{leader} or {follower}")
        halvings = -np.log2(evidence.grid(experiment, leader, "density").mean()[rounds] / 100)
        centred = halvings - halvings.mean()
        return (lead * centred).sum(axis=1) / (centred**2).sum()

    return read


def by_mean(choose: Callable[..., str], measures: Mapping[str, Measure]) -> Measure:
    """Of several measures the one with the highest (``max``) or lowest (``min``) mean."""

    def read(evidence: Evidence) -> pd.Series:
        values = {name: measure(evidence) for name, measure in measures.items()}
        return values[choose(values, key=lambda name: values[name].mean())]

    return read


def criterion_mask(arm: str) -> Measure:
    """Test accuracy at the density that validation accuracy chooses, seed by seed.

    The whole network (round 0) is not a mask.
    """

    def read(evidence: Evidence) -> pd.Series:
        test = evidence.grid("supermasks", arm).drop(columns=0, errors="ignore")
        validation = evidence.grid("supermasks", arm, "validation_accuracy")[test.columns]
        if test.empty:
            raise _Undecided(f"preset too small: the record of supermasks has no mask for {arm}")
        _known(test, arm)
        _known(validation, arm)
        # Of equally good masks the one that keeps most.
        best = validation.idxmax(axis=1)
        return pd.Series({seed: test.loc[seed, best[seed]] for seed in test.index})

    return read


def learned_mask(arm: str, column: str = "test_accuracy", network: str | None = None) -> Measure:
    """A column of a learned mask after its last epoch."""

    def read(evidence: Evidence) -> pd.Series:
        grid = evidence.grid("learned_supermasks", arm, column, network)
        return _known(grid[grid.columns.max()], arm)

    return read


def best_learned_mask(evidence: Evidence) -> pd.Series:
    """Test accuracy of the learned mask that validation accuracy chooses, seed by seed."""
    arms = [f"learned/{values}/{scaling}" for values in _VALUES for scaling in _SCALINGS]
    validation, test = (
        pd.DataFrame({arm: learned_mask(arm, column)(evidence) for arm in arms})
        for column in ("validation_accuracy", "test_accuracy")
    )
    best = validation.idxmax(axis=1)
    return pd.Series({seed: test.loc[seed, best[seed]] for seed in test.index})


def rescaling_gain(networks: Sequence[str] | None = None) -> Measure:
    """What dynamic weight rescaling adds to a learned mask: the mean of w_i and S.C., and of the
    networks if several are named."""

    def read(evidence: Evidence) -> pd.Series:
        gains = [
            learned_mask(f"learned/{values}/rescaled", network=network)(evidence)
            - learned_mask(f"learned/{values}/plain", network=network)(evidence)
            for network in networks or [evidence.network]
            for values in _VALUES
        ]
        return pd.concat(gains, axis=1, join="inner").dropna().mean(axis=1)

    return read


_VALUES, _SCALINGS = ("initial", "constant"), ("plain", "rescaled")
_trained: Measure = dense("supermasks", "trained")


# --- comparisons, intervals and verdicts ----------------------------------------------------


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
    """A comparison with its numbers and verdict; what could not be measured is NaN."""

    name: str
    unit: str
    effect: float
    low: float
    high: float
    bar: float
    seeds: int
    paper: float | None
    verdict: str
    reason: str


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


class Interval(NamedTuple):
    """A mean and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


def interval(values: Iterable[float], confidence: float = THRESHOLDS.confidence) -> Interval:
    """Student's interval of the mean of independent values, one for each seed.

    For differences paired by seed this is the paired t interval. It takes the values for normally
    distributed, and with few seeds it is wide: 1.24 standard deviations to either side of the
    mean for five, 2.5 for three; one value has none (its ends are NaN).
    """
    from scipy import stats

    sample = np.asarray(list(values), dtype=float)
    mean = float(sample.mean()) if len(sample) else math.nan
    if len(sample) < 2:
        return Interval(mean, math.nan, math.nan)
    error = sample.std(ddof=1) / math.sqrt(len(sample))
    reach = float(stats.t.ppf((1 + confidence) / 2, len(sample) - 1) * error)
    return Interval(mean, mean - reach, mean + reach)


def compare(comparison: Comparison, evidence: Evidence) -> Part:
    """Measure one comparison and give its verdict."""
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
    except _Undecided as undecided:
        values, reason = values[:0], str(undecided)
    if isinstance(bar, tuple):  # a margin; unknown if the reference is
        share, most = bar
        bar = math.nan if math.isnan(level) else 0.0 - min(share * (100 - level), most)
    mean, low, high = interval(values, limits.confidence)
    verdict, why = _verdict(low, high, bar, len(values), limits)
    return Part(
        name=comparison.name,
        unit=comparison.unit,
        effect=mean,
        low=low,
        high=high,
        bar=bar,
        seeds=len(values),
        paper=comparison.paper,
        verdict=verdict,
        reason=reason or why,
    )


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
    """Verdict and reason of a claim, and its weakest part among those that decide it."""
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


# --- the claims -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper and the comparisons that it comes down to on a network.

    ``across`` says whether there is something to compare between networks too.
    """

    id: str
    sentence: str
    experiments: tuple[str, ...]
    comparisons: Callable[[str], Iterator[Comparison]]
    across: bool = False

    @property
    def reading(self) -> str:
        """How the sentence was made into comparisons."""
        return " ".join((self.comparisons.__doc__ or "").split())

    @property
    def section(self) -> str:
        """criteria, signs, zeros or supermask."""
        return self.id.split("-")[0]


CLAIMS: dict[str, Claim] = {}


def claim(sentence: str, *experiments: str, across: bool = False) -> Callable:
    """Register the decorated function, ``section_number``, as the claim ``section-number``."""

    def register(comparisons: Callable[[str], Iterator[Comparison]]) -> Callable:
        name = comparisons.__name__.replace("_", "-")
        CLAIMS[name] = Claim(name, sentence, experiments, comparisons, across)
        return comparisons

    return register


def _criterion(name: str, window: str = "any_pruning") -> Measure:
    return ticket("criteria", f"{name}/rewind/zero", window)


def _mask1(name: str, window: str = "any_pruning") -> Measure:
    return ticket("signs", f"large_final/{name}/zero", window)


def _mask0(name: str, window: str = "any_pruning") -> Measure:
    return ticket("zeros", f"large_final/rewind/{name}", window)


# Table 2 of the paper: test accuracy in percent.
PAPER_TABLE_2: dict[str, dict[str, float]] = {
    network: dict(
        zip(
            (
                "criterion mask, w_i",
                "criterion mask, S.C.",
                "learned mask, w_i",
                "learned mask, S.C.",
                "learned + DWR, w_i",
                "learned + DWR, S.C.",
                "trained weights",
            ),
            row,
            strict=True,
        )
    )
    for network, row in {
        "fc": (79.3, 86.3, 95.3, 96.4, 97.8, 98.0, 97.7),
        "conv2": (22.3, 37.4, 64.4, 66.3, 65.0, 66.0, 69.2),
        "conv4": (23.7, 39.7, 65.4, 66.2, 71.7, 72.5, 75.4),
        "conv6": (24.0, 41.0, 65.3, 65.4, 76.3, 76.5, 78.3),
    }.items()
}
# What of ours stands beside each of its columns.
OUR_TABLE_2: dict[str, Measure] = {
    "criterion mask, w_i": criterion_mask("large_final_same_sign/initial/plain"),
    "criterion mask, S.C.": criterion_mask("large_final_same_sign/constant/plain"),
    "learned mask, w_i": learned_mask("learned/initial/plain"),
    "learned mask, S.C.": learned_mask("learned/constant/plain"),
    "learned + DWR, w_i": learned_mask("learned/initial/rescaled"),
    "learned + DWR, S.C.": learned_mask("learned/constant/rescaled"),
    "trained weights": _trained,
}


def _difference(network: str, left: str, right: str) -> float:
    """Between two figures of the paper's table 2."""
    figures = PAPER_TABLE_2[network]
    return round(figures[left] - figures[right], 1)


def _paper_gain(networks: Sequence[str]) -> float:
    """What the paper's table 2 gives for `rescaling_gain`."""
    gains = [
        _difference(network, f"learned + DWR, {values}", f"learned mask, {values}")
        for network in networks
        for values in ("w_i", "S.C.")
    ]
    return round(sum(gains) / len(gains), 2)


# The criteria that work, by the paper; those it compares them with.
WORKING = ("large_final", "magnitude_increase", "movement", "large_init_large_final")
OTHERS = ("random", "large_init", "small_init", "small_init_small_final")
PAIRS = (
    ("large_final", "small_final"),
    ("large_init", "small_init"),
    ("large_init_large_final", "small_init_small_final"),
)
# The mask-1 actions that draw new values; each with random signs, and as signed_ with kept ones.
NEW_VALUES = ("reinit", "reshuffle", "constant")


@claim(
    "large_final tickets reach or pass the dense network's accuracy at moderate pruning", "criteria"
)
def criteria_1(network: str) -> Iterator[Comparison]:
    """Mean accuracy of tickets at moderate pruning, no further below the dense network's than the
    margin."""
    yield Comparison(
        "large_final − dense, moderate pruning",
        _criterion("large_final", "moderate_pruning"),
        dense("criteria"),
        "match",
    )


@claim("magnitude_increase does as well as large_final, or better", "criteria")
def criteria_2(network: str) -> Iterator[Comparison]:
    """Mean over all densities; no further below than the margin."""
    yield Comparison(
        "magnitude_increase − large_final",
        _criterion("magnitude_increase"),
        _criterion("large_final"),
        "match",
    )


@claim(
    "in each opposite pair (large/small final, large/small init, the two joint ones) one side "
    "beats random and the other loses to it",
    "criteria",
)
def criteria_3(network: str) -> Iterator[Comparison]:
    """Mean over all densities. Which side is the good one is no part of the claim: it is the one
    with the higher mean."""
    for pair in PAIRS:
        sides = {name: _criterion(name) for name in pair}
        named = " and ".join(pair)
        yield Comparison(f"better of {named} − random", by_mean(max, sides), _criterion("random"))
        yield Comparison(f"random − worse of {named}", _criterion("random"), by_mean(min, sides))


@claim(
    "large_final, magnitude_increase, movement and large_init_large_final beat random; "
    "small_final is the worst",
    "criteria",
)
def criteria_4(network: str) -> Iterator[Comparison]:
    """Mean over all densities; small_final must lie below the lowest of the other eight."""
    for name in WORKING:
        yield Comparison(f"{name} − random", _criterion(name), _criterion("random"))
    yield Comparison(
        "worst of the others − small_final",
        by_mean(min, {name: _criterion(name) for name in (*WORKING, *OTHERS)}),
        _criterion("small_final"),
    )


@claim(
    "kept signs: signed reinit, reshuffle and constant come close to rewinding and pass the "
    "dense network",
    "signs",
)
def signs_1(network: str) -> Iterator[Comparison]:
    """Each of the three at moderate pruning: behind rewinding by no more than the margin, and
    above the dense network."""
    for name in NEW_VALUES:
        ours = _mask1(f"signed_{name}", "moderate_pruning")
        yield Comparison(
            f"signed_{name} − rewind, moderate pruning",
            ours,
            _mask1("rewind", "moderate_pruning"),
            "close",
        )
        yield Comparison(f"signed_{name} − dense, moderate pruning", ours, dense("signs"))


@claim(
    "random signs: reinit, reshuffle and constant fall behind rewinding, by more the more is "
    "pruned",
    "signs",
)
def signs_2(network: str) -> Iterator[Comparison]:
    """Each of the three: the lead of rewinding, averaged over all densities, is above 0, and so is
    its growth with every halving of the density."""
    for name in NEW_VALUES:
        yield Comparison(f"rewind − {name}", _mask1("rewind"), _mask1(name))
        yield Comparison(
            f"growth of rewind − {name}",
            slope("signs", "large_final/rewind/zero", f"large_final/{name}/zero"),
            unit=SLOPE,
        )


@claim("the sign matters more than the value: signed_constant beats reinit", "signs")
def signs_3(network: str) -> Iterator[Comparison]:
    """Mean over all densities."""
    yield Comparison("signed_constant − reinit", _mask1("signed_constant"), _mask1("reinit"))


@claim("zeroing pruned weights beats freezing them at their initial values", "zeros")
def zeros_1(network: str) -> Iterator[Comparison]:
    """Mean over all densities."""
    yield Comparison("zero − freeze_init", _mask0("zero"), _mask0("freeze_init"))


@claim("variant_1 matches zeroing at low pruning and beats it at high pruning", "zeros")
def zeros_2(network: str) -> Iterator[Comparison]:
    """At low pruning no further below than the margin; at high pruning above."""
    yield Comparison(
        "variant_1 − zero, low pruning",
        _mask0("variant_1", "low_pruning"),
        _mask0("zero", "low_pruning"),
        "match",
    )
    yield Comparison(
        "variant_1 − zero, high pruning",
        _mask0("variant_1", "high_pruning"),
        _mask0("zero", "high_pruning"),
    )


@claim("variant_2 does at least as well as variant_1", "zeros")
def zeros_3(network: str) -> Iterator[Comparison]:
    """Mean over all densities; no further below than the margin."""
    yield Comparison("variant_2 − variant_1", _mask0("variant_2"), _mask0("variant_1"), "match")


@claim(
    "masking is training: the criteria that work zero mostly weights that were moving towards "
    "zero anyway",
    "criteria",
)
def zeros_4(network: str) -> Iterator[Comparison]:
    """Of all weights that each criterion prunes, those that training had just moved towards zero:
    more than half, and a larger share than among all weights that could have been pruned."""
    for name in WORKING:
        pruned, candidates = (
            share_among_pruned(f"{name}/rewind/zero", column)
            for column in ("pruned_shrunk_share", "shrunk_share")
        )
        yield Comparison(
            f"share moving to zero of what {name} prunes",
            pruned,
            bar="mostly",
            unit=PERCENT,
        )
        yield Comparison(f"the same − share among all candidates ({name})", pruned, candidates)


@claim(
    "large_final masks on untrained networks do far better than chance, and "
    "large_final_same_sign better still",
    "supermasks",
)
def supermask_1(network: str) -> Iterator[Comparison]:
    """Each mask at the density that validation accuracy chooses. The paper's figure is for the
    better of the two."""
    plain, same_sign = (
        criterion_mask(f"{name}/initial/plain") for name in ("large_final", "large_final_same_sign")
    )
    yield Comparison("large_final mask", plain, bar="far_above_chance", unit=PERCENT)
    yield Comparison(
        "large_final_same_sign mask",
        same_sign,
        bar="far_above_chance",
        unit=PERCENT,
        paper=PAPER_TABLE_2[network]["criterion mask, w_i"],
    )
    yield Comparison("large_final_same_sign − large_final", same_sign, plain)


@claim("signed constants do better under these masks than the initial values", "supermasks")
def supermask_2(network: str) -> Iterator[Comparison]:
    """Each mask at the density that validation accuracy chooses."""
    for name in ("large_final", "large_final_same_sign"):
        best = name == "large_final_same_sign"  # the one that the paper gives figures of
        yield Comparison(
            f"S.C. − w_i, {name} mask",
            criterion_mask(f"{name}/constant/plain"),
            criterion_mask(f"{name}/initial/plain"),
            paper=_difference(network, "criterion mask, S.C.", "criterion mask, w_i")
            if best
            else None,
        )


@claim(
    "learned masks do far better than criterion masks",
    "supermasks",
    "learned_supermasks",
)
def supermask_3(network: str) -> Iterator[Comparison]:
    """Without rescaling, against the best of the paper's criteria, large_final_same_sign, at the
    density that validation accuracy chooses; for w_i and for signed constants."""
    for values, short in (("initial", "w_i"), ("constant", "S.C.")):
        yield Comparison(
            f"learned − large_final_same_sign, {short}",
            learned_mask(f"learned/{values}/plain"),
            criterion_mask(f"large_final_same_sign/{values}/plain"),
            "far_better",
            paper=_difference(network, f"learned mask, {short}", f"criterion mask, {short}"),
        )


SHALLOW, DEEP = ("fc", "conv2"), ("conv4", "conv6")


@claim(
    "dynamic weight rescaling improves learned masks, most for the deeper networks",
    "learned_supermasks",
    across=True,
)
def supermask_4(network: str) -> Iterator[Comparison]:
    """On each network the gain must be above 0; between networks, that of the deeper two must be
    larger than that of the other two."""
    # By the paper's own table, signed constants on Conv2 lose by rescaling: so the mean of both
    # kinds of values is what has to gain.
    if network == ALL_NETWORKS:
        yield Comparison(
            "gain by rescaling, Conv4 and Conv6 − FC and Conv2",
            rescaling_gain(DEEP),
            rescaling_gain(SHALLOW),
            paper=round(_paper_gain(DEEP) - _paper_gain(SHALLOW), 1),
        )
    else:
        yield Comparison(
            "gain by rescaling, mean of w_i and S.C.",
            rescaling_gain(),
            paper=_paper_gain([network]),
        )


@claim(
    "the best learned masks come close to the trained network's accuracy (FC: match it)",
    "supermasks",
    "learned_supermasks",
)
def supermask_5(network: str) -> Iterator[Comparison]:
    """The learned mask that validation accuracy chooses among the four kinds, against the dense
    network trained for the criterion masks."""
    figures = PAPER_TABLE_2[network]
    best = max(figures[column] for column in figures if column.startswith("learned"))
    yield Comparison(
        "best learned mask − trained network",
        best_learned_mask,
        _trained,
        "match" if network == "fc" else "close",
        paper=round(best - figures["trained weights"], 1),
    )


# --- judging --------------------------------------------------------------------------------


def find(name: str) -> Claim:
    """The claim of that id, or a `UserError` that lists them all."""
    if name not in CLAIMS:
        raise UserError(f"unknown claim {name!r}: choose one of {', '.join(CLAIMS)}")
    return CLAIMS[name]


def judge(
    name: str,
    evidence: Mapping[tuple[str, str], Record],
    network: str = "fc",
    limits: Thresholds = THRESHOLDS,
    preset: str | None = None,
) -> Result:
    """The verdict on one claim by the records given, each under (experiment, network).

    ``network`` is `ALL_NETWORKS` for what a claim says about networks compared with one another.
    Never raises for want of records: that is a verdict too.
    """
    one = find(name)
    if network not in (*NETWORKS, *([ALL_NETWORKS] if one.across else [])):
        raise UserError(f"{name} is judged on one of {', '.join(NETWORKS)}, not on {network!r}")
    known = Evidence(evidence, network, limits)
    parts = tuple(compare(comparison, known) for comparison in one.comparisons(network))
    verdict, reason, weakest = combine(parts)
    networks = NETWORKS if network == ALL_NETWORKS else (network,)
    used = [
        f"{experiment}-{other}-{evidence[experiment, other].plan['preset']}"
        for other in networks
        for experiment in one.experiments
        if (experiment, other) in evidence
    ]
    return Result(name, network, verdict, reason, weakest, parts, preset, tuple(used))


def scorecard(
    networks: Sequence[str] | None = None,
    preset: str | None = None,
    limits: Thresholds = THRESHOLDS,
    directory: Path | None = None,
) -> list[Result]:
    """Every claim judged on every network (default: all four, and what compares them).

    Records come from ``directory`` (default: the book's). Each claim rests on records of one
    preset: the one named, or the largest of `PRESETS` that has all the claim needs. Raises
    `UserError` for an unknown network or preset, and for a damaged record.
    """
    for network in networks or ():
        if network not in NETWORKS:
            raise UserError(f"unknown network {network!r}: choose one of {', '.join(NETWORKS)}")
    if preset is not None and preset not in PRESETS:
        raise UserError(f"unknown preset {preset!r}: choose one of {', '.join(PRESETS)}")
    shelf = _Shelf(directory)
    results = []
    for one in CLAIMS.values():
        scopes = [*(networks or NETWORKS)]
        if one.across and networks is None:
            scopes.append(ALL_NETWORKS)
        for network in scopes:
            chosen, evidence = shelf.choose(one, network, preset)
            results.append(judge(one.id, evidence, network, limits, chosen))
    return results


class _Shelf:
    """Records of a directory, each read once, when first asked for."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        folder = directory or paths.records()
        self.names = {file.stem for file in folder.glob("*.parquet")}
        self.read: dict[str, Record] = {}

    def choose(
        self, one: Claim, network: str, preset: str | None
    ) -> tuple[str | None, dict[tuple[str, str], Record]]:
        """The preset that a claim rests on, and its records."""
        networks = NETWORKS if network == ALL_NETWORKS else (network,)
        wanted = [(experiment, other) for other in networks for experiment in one.experiments]
        there = {
            candidate: [pair for pair in wanted if f"{'-'.join(pair)}-{candidate}" in self.names]
            for candidate in ([preset] if preset else PRESETS)
        }
        # The most complete preset; of equally complete ones the largest, which `PRESETS` has first.
        chosen = max(there, key=lambda candidate: len(there[candidate]))
        if not there[chosen]:
            return None, {}
        return chosen, {pair: self._record(f"{'-'.join(pair)}-{chosen}") for pair in there[chosen]}

    def _record(self, name: str) -> Record:
        if name not in self.read:
            self.read[name] = records.read(name, self.directory)
        return self.read[name]


# --- tables ---------------------------------------------------------------------------------


def frame(results: Sequence[Result], verbose: bool = False) -> pd.DataFrame:
    """One row for each claim and network, or (``verbose``) for each of its comparisons.

    Columns: claim, network, verdict, comparison, effect, low, high, bar (all in unit), paper (None
    where it gives no figure), seeds, reason, preset, records.
    """
    return pd.DataFrame(
        [
            {
                "claim": result.claim,
                "network": result.network,
                "verdict": part.verdict if verbose else result.verdict,
                "comparison": part.name,
                "effect": part.effect,
                "low": part.low,
                "high": part.high,
                "bar": part.bar,
                "unit": part.unit,
                "paper": part.paper,
                "seeds": part.seeds,
                "reason": part.reason if verbose else result.reason,
                "preset": result.preset,
                "records": ", ".join(result.records),
            }
            for result in results
            for part in (result.parts if verbose else [result.weakest])
        ]
    )


def bracketed(mean: float, low: float, high: float, decimals: int = 2) -> str:
    """An interval as a table shows it; empty for a mean that is no number.

    >>> bracketed(-0.13, -0.9, 0.64)
    '−0.13 [−0.90, 0.64]'
    """
    if math.isnan(mean):
        return ""
    mean, low, high = (
        f"{value:.{decimals}f}".replace("-", "\N{MINUS SIGN}") for value in (mean, low, high)
    )
    return mean if low == "nan" else f"{mean} [{low}, {high}]"


def comparisons(results: Sequence[Result]) -> pd.DataFrame:
    """Every comparison that verdicts rest on, as a chapter shows it, one row each.

    The index names the comparison; columns claim, effect (with its interval), threshold and
    verdict, all strings.
    """
    rows = [
        {
            "claim": result.claim,
            "effect": bracketed(part.effect, part.low, part.high),
            "threshold": bracketed(part.bar, math.nan, math.nan),
            "verdict": part.verdict,
        }
        for result in results
        for part in result.parts
    ]
    names = [part.name for result in results for part in result.parts]
    return pd.DataFrame(rows, index=names).rename_axis(columns="comparison")


def table_2(
    preset: str | None = None,
    networks: Sequence[str] = NETWORKS,
    confidence: float = THRESHOLDS.confidence,
    directory: Path | None = None,
) -> pd.DataFrame:
    """The paper's table 2 beside ours, one row for each network and column of it.

    Columns: network, column, paper, ours, low, high (all in percent; NaN where there is no
    record), seeds, preset. Criterion masks are large_final_same_sign, the paper's best, at the
    density that validation accuracy chooses; each network's numbers come from one preset, chosen as
    `scorecard` does.
    """
    shelf = _Shelf(directory)
    rows = []
    for network in networks:
        chosen, evidence = shelf.choose(CLAIMS["supermask-5"], network, preset)
        for column, paper in PAPER_TABLE_2[network].items():
            part = compare(
                Comparison(column, OUR_TABLE_2[column], unit=PERCENT),
                Evidence(evidence, network, Thresholds(confidence=confidence)),
            )
            ours = (part.effect, part.low, part.high, part.seeds)
            rows.append((network, column, paper, *ours, chosen))
    names = ["network", "column", "paper", "ours", "low", "high", "seeds", "preset"]
    return pd.DataFrame(rows, columns=names)


def table_2_in_words(table: pd.DataFrame) -> pd.DataFrame:
    """`table_2` as the paper prints it, for a page: a row for each of its columns, and for each
    network that was measured the paper's figure and ours, "mean ± half width of the interval"."""
    measured = table[table["network"].isin(table["network"][table["ours"].notna()])]
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for row in measured.itertuples():
        ours = "" if math.isnan(row.ours) else f"{row.ours:.1f}"
        if not math.isnan(row.high):
            ours += f" ± {row.high - row.ours:.1f}"
        cells.setdefault((row.network, "paper"), {})[row.column] = f"{row.paper:.1f}"
        cells.setdefault((row.network, "ours"), {})[row.column] = ours
    return pd.DataFrame(cells)


def describe(results: Sequence[Result], verbose: bool = False) -> list[str]:
    """Lines for people, claim by claim: what ``dltlib claims`` prints.

    ``verbose`` adds every comparison, and how the claim was read.
    """
    lines = []
    for name in dict.fromkeys(result.claim for result in results):
        one = find(name)
        lines.append(f"{one.id}: {one.sentence}")
        if verbose:
            lines.append(f"  Read as: {one.reading}")
        for result in results:
            if result.claim != name:
                continue
            lines.append(f"  {result.network:6}{result.verdict.upper()}: {_in_words(result)}")
            if verbose:
                lines += [f"        {part.verdict}: {_in_words(part)}" for part in result.parts]
    counts = count(results)
    lines.append("; ".join(f"{number} {verdict}" for verdict, number in counts.items()))
    return lines


def count(results: Iterable[Result]) -> dict[str, int]:
    """How often each verdict was given, in the order reproduced, not reproduced, undecided."""
    verdicts = [result.verdict for result in results]
    return {verdict: verdicts.count(verdict) for verdict in VERDICTS}


def _in_words(given: Result | Part) -> str:
    part = given.weakest if isinstance(given, Result) else given
    words = []
    if not math.isnan(part.effect):
        ends = "" if math.isnan(part.low) else f" [{part.low:.2f}, {part.high:.2f}]"
        words.append(
            f"{part.name}: {part.effect:.2f}{ends} {part.unit}, {part.seeds} seeds, threshold "
            f"{part.bar:.2f}"
        )
    elif isinstance(given, Part) or part.paper is not None:
        words.append(part.name)
    if part.paper is not None:
        words.append(f"the paper {part.paper:g}")
    if given.reason:
        words.append(given.reason)
    if isinstance(given, Result) and given.records:
        words.append(", ".join(given.records))
    return "; ".join(words)

"""Measures: one number for each seed, read from records."""

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from dltlib import catalogue
from dltlib.claims.evidence import Evidence, Undecided
from dltlib.claims.thresholds import THRESHOLDS, Thresholds

# A measure reads one number for each seed; it raises `Undecided` if it cannot.
Measure = Callable[[Evidence], pd.Series]


def known(values: pd.DataFrame | pd.Series, what: str) -> pd.Series:
    """Mean over the rounds; a single missing number makes all of it unknown."""
    missing = values.isna()
    if missing.to_numpy().any():
        seeds = missing.any(axis=1) if isinstance(missing, pd.DataFrame) else missing
        named = ", ".join(str(seed) for seed in seeds.index[seeds])
        raise Undecided(f"no number (NaN) for {what}, seed {named}")
    return values.mean(axis=1) if isinstance(values, pd.DataFrame) else values


def ticket(experiment: str, arm: str, window: str = "any_pruning") -> Measure:
    """Mean test accuracy over the rounds in a window of densities.

    >>> claims.ticket("criteria", "random/rewind/zero")(evidence).round(2).tolist()
    [92.0, 91.2, 90.4]
    """

    def read(evidence: Evidence) -> pd.Series:
        rounds = evidence.window(experiment, arm, window)
        return known(evidence.grid(experiment, arm)[rounds], arm)

    return read


def share_among_pruned(arm: str, column: str) -> Measure:
    """A share (of those pruned, or of the candidates), each round counting by what it pruned.

    >>> real = claims.Evidence({("criteria", "fc"): records.read("criteria-fc-tiny")}, "fc")
    >>> shares = claims.share_among_pruned("large_final/rewind/zero", "pruned_shrunk_share")(real)
    >>> bool(shares.between(0, 100).all())
    True
    """

    def read(evidence: Evidence) -> pd.Series:
        rounds = evidence.window("criteria", arm, "any_pruning")
        shares = evidence.grid("criteria", arm, column)[rounds]
        pruned = -evidence.grid("criteria", arm, "density").diff(axis=1)[rounds]
        known(shares, f"{column} of {arm}")
        known(pruned, f"density of {arm}")
        return (shares * pruned).sum(axis=1) / pruned.sum(axis=1)

    return read


def dense(experiment: str, arm: str = "large_final/rewind/zero") -> Measure:
    """Test accuracy of the dense baseline: round 0, the same for every arm.

    >>> claims.dense("criteria")(evidence).round(2).tolist()
    [96.0, 95.0, 94.0]
    """

    def read(evidence: Evidence) -> pd.Series:
        grid = evidence.grid(experiment, arm)
        if 0 not in grid:
            raise Undecided(f"the record of {experiment} has no dense baseline (round 0)")
        return known(grid[0], "the dense baseline")

    return read


def slope(experiment: str, leader: str, follower: str) -> Measure:
    """How many points the leader's lead grows each time the density halves (least squares), over
    the densities of claims that name none.

    >>> claims.slope("criteria", *plan.arms)(evidence).round(2).tolist()
    [2.5, 2.5, 2.5]
    """

    def read(evidence: Evidence) -> pd.Series:
        rounds = evidence.window(experiment, leader, "any_pruning")
        lead = (evidence.grid(experiment, leader) - evidence.grid(experiment, follower))[rounds]
        known(lead, f"{leader} or {follower}")
        halvings = -np.log2(evidence.grid(experiment, leader, "density").mean()[rounds] / 100)
        centred = halvings - halvings.mean()
        return (lead * centred).sum(axis=1) / (centred**2).sum()

    return read


def by_mean(choose: Callable[..., str], measures: Mapping[str, Measure]) -> Measure:
    """Of several measures the one with the highest (``max``) or lowest (``min``) mean.

    >>> arms = {arm: claims.ticket("criteria", arm) for arm in plan.arms}
    >>> claims.by_mean(min, arms)(evidence).round(2).tolist()  # random
    [92.0, 91.2, 90.4]
    """

    def read(evidence: Evidence) -> pd.Series:
        values = {name: measure(evidence) for name, measure in measures.items()}
        return values[choose(values, key=lambda name: values[name].mean())]

    return read


def best_masks(table: pd.DataFrame) -> pd.DataFrame:
    """The row of each arm and seed at the density that validation accuracy chooses.

    Of equally good masks it is the one that keeps most; the whole network, round 0, is no mask.

    >>> best = claims.best_masks(records.read("supermasks-fc-tiny").table)
    >>> bool((best["round"] > 0).all())
    True
    """
    masks = table[table["round"] > 0].sort_values("round")
    return masks.loc[masks.groupby(["arm", "seed"])["validation_accuracy"].idxmax()]


def criterion_mask(arm: str) -> Measure:
    """Test accuracy at the density that validation accuracy chooses, seed by seed.

    The whole network (round 0) is not a mask.

    >>> masked = claims.Evidence({("supermasks", "fc"): records.read("supermasks-fc-tiny")}, "fc")
    >>> claims.criterion_mask("large_final/initial/plain")(masked).index.tolist()  # the seeds
    [0, 1, 2]
    """

    def read(evidence: Evidence) -> pd.Series:
        for column in ("test_accuracy", "validation_accuracy"):
            grid = evidence.grid("supermasks", arm, column).drop(columns=0, errors="ignore")
            if grid.empty:
                raise Undecided(f"preset too small: the record of supermasks has no mask for {arm}")
            known(grid, arm)
        table = evidence.table("supermasks", evidence.network)
        best = best_masks(table[table["arm"] == arm])
        return 100 * best.set_index("seed")["test_accuracy"]

    return read


def learned_mask(arm: str, column: str = "test_accuracy", network: str | None = None) -> Measure:
    """A column of a learned mask after its last epoch.

    >>> learned = records.read("learned_supermasks-fc-tiny")
    >>> found = claims.Evidence({("learned_supermasks", "fc"): learned}, "fc")
    >>> claims.learned_mask("learned/initial/plain")(found).index.tolist()  # the seeds
    [0, 1, 2]
    """

    def read(evidence: Evidence) -> pd.Series:
        grid = evidence.grid("learned_supermasks", arm, column, network)
        return known(grid[grid.columns.max()], arm)

    return read


def best_learned_mask(evidence: Evidence) -> pd.Series:
    """Test accuracy of the learned mask that validation accuracy chooses, seed by seed.

    >>> learned = records.read("learned_supermasks-fc-tiny")
    >>> found = claims.Evidence({("learned_supermasks", "fc"): learned}, "fc")
    >>> claims.best_learned_mask(found).index.tolist()  # the seeds
    [0, 1, 2]
    """
    arms = catalogue.EXPERIMENTS["learned_supermasks"].arms
    validation, test = (
        pd.DataFrame({arm: learned_mask(arm, column)(evidence) for arm in arms})
        for column in ("validation_accuracy", "test_accuracy")
    )
    best = validation.idxmax(axis=1)
    return pd.Series({seed: test.loc[seed, best[seed]] for seed in test.index})


def errors_mended(better: Measure, worse: Measure) -> Measure:
    """The share, in percent, of the worse measure's errors that the better one does not make.

    >>> better, worse = (claims.ticket("criteria", arm) for arm in plan.arms)
    >>> claims.errors_mended(better, worse)(evidence).round(1).tolist()
    [62.5, 56.8, 52.1]
    """

    def read(evidence: Evidence) -> pd.Series:
        left, right = better(evidence), worse(evidence)
        return (100 * (left - right) / (100 - right)).dropna()  # the seeds that both have

    return read


def learned(accuracy: pd.Series | float, limits: Thresholds = THRESHOLDS) -> bool:
    """Whether a learned mask of that accuracy, %, got as far above chance as "far better" asks for;
    if not, it did not learn, and what it reached is no measure of the method.

    >>> claims.learned(11.1), claims.learned(96.4)
    (False, True)
    """
    return bool(np.mean(accuracy) > limits.far_above_chance)


def rescaling_gain(networks: Sequence[str] | None = None) -> Measure:
    """What dynamic weight rescaling adds to a learned mask: the mean of w_i and S.C., and of the
    networks if several are named. Masks that did not learn are then no measure of it: a difference
    between networks would be that failure.

    >>> learned = records.read("learned_supermasks-fc-tiny")
    >>> found = claims.Evidence({("learned_supermasks", "fc"): learned}, "fc")
    >>> claims.rescaling_gain()(found).index.tolist()  # the seeds
    [0, 1, 2]
    """

    def read(evidence: Evidence) -> pd.Series:
        gains = []
        for network, values in itertools.product(
            networks or [evidence.network], catalogue.MASK_VALUES
        ):
            reached = {}
            for scaling in catalogue.MASK_SCALINGS:
                arm = f"learned/{values}/{scaling}"
                reached[scaling] = learned_mask(arm, network=network)(evidence)
                if networks and not learned(reached[scaling], evidence.limits):
                    raise Undecided(
                        f"{arm} on {network} did not learn ({reached[scaling].mean():.1f} %)"
                    )
            gains.append(reached["rescaled"] - reached["plain"])
        return pd.concat(gains, axis=1, join="inner").dropna().mean(axis=1)

    return read


trained: Measure = dense("supermasks", "trained")

"""What claims read: the records, arm by arm, and the rounds that fall into a window."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from dltlib.claims.thresholds import THRESHOLDS, Thresholds
from dltlib.records import Record

COUNTED = ("early_iteration", "stop_iteration")  # columns that hold no share


class Undecided(Exception):
    """Why a comparison has no answer."""


@dataclass(frozen=True)
class Evidence:
    """The records that a claim may look at, by (experiment, network), and the thresholds."""

    records: Mapping[tuple[str, str], Record]
    network: str
    limits: Thresholds = THRESHOLDS
    # Comparisons of one claim read the same arms again and again.
    _grids: dict[tuple[str, ...], pd.DataFrame] = field(default_factory=dict, repr=False)
    _densities: dict[tuple[str, str], pd.Series] = field(default_factory=dict, repr=False)

    def table(self, experiment: str, network: str) -> pd.DataFrame:
        """The rows of an experiment on a network, all of whose records must be of one scale: else
        seeds share neither weights nor images, and a difference measures width or data."""
        if (experiment, network) not in self.records:
            raise Undecided(f"no record of {experiment} on {network}")
        here = {other: record for (other, name), record in self.records.items() if name == network}
        scales = {record.scale(): other for other, record in here.items()} if len(here) > 1 else {}
        if len(scales) > 1:
            said = ", ".join(f"{other} {scale}" for scale, other in scales.items())
            raise Undecided(f"the records are of unlike networks or data: {said}")
        return self.records[experiment, network].table

    def grid(
        self,
        experiment: str,
        arm: str,
        column: str = "test_accuracy",
        network: str | None = None,
    ) -> pd.DataFrame:
        """A column of one arm, ``[seed, round]``, shares as percent, iterations as they are."""
        network = network or self.network
        key = (experiment, arm, column, network)
        if key not in self._grids:
            rows = self.table(experiment, network)
            rows = rows[rows["arm"] == arm]
            if rows.empty or column not in rows:
                what = arm if rows.empty else f"{column} of {arm}"
                raise Undecided(f"the record of {experiment} has no {what}")
            factor = 1 if column in COUNTED else 100
            self._grids[key] = rows.pivot(index="seed", columns="round", values=column) * factor
        return self._grids[key]

    def window(self, experiment: str, arm: str, name: str) -> list[int]:
        """The rounds whose density, averaged over the seeds, lies in the window of that name.

        Round 0, the dense network, is in none.
        """
        low, high = getattr(self.limits, name)
        key = (experiment, arm)
        if key not in self._densities:
            mean = self.grid(experiment, arm, "density").mean() / 100
            self._densities[key] = mean[mean.index > 0]
        density = self._densities[key]
        shares = density.to_numpy()
        rounds: list[int] = density.index[(low <= shares) & (shares <= high)].tolist()
        if len(rounds) < self.limits.least_rounds:
            reached = f"{density.min():.2g}" if len(density) else "1 (never pruned)"
            raise Undecided(
                f"preset too small: {len(rounds)} of {len(density)} rounds have a density from "
                f"{low:g} to {high:g} ({name.replace('_', ' ')}), {self.limits.least_rounds} are "
                f"needed; the record ends at {reached}"
            )
        return rounds

"""Every number that a verdict depends on, with its meaning."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from dltlib.records import FEWEST_SEEDS

CHANCE = 10.0  # percent, of ten classes


def _stated(default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True)
class Thresholds:
    """Every number that a verdict depends on. Densities are shares of all weights, both ends
    included; margins are pairs (share of the reference's test error, most percentage points).

    A margin relative to the error means the same on MNIST, where a network errs twice in a
    hundred images, and on CIFAR-10, where it errs thirty times; the cap keeps it strict there.
    """

    confidence: float = _stated(0.95, "confidence of every interval")
    least_seeds: int = _stated(FEWEST_SEEDS, "fewest seeds for a verdict")
    least_rounds: int = _stated(2, "fewest rounds that must fall into a window of densities")
    low_pruning: tuple[float, float] = _stated((0.4, 0.85), "densities called low pruning")
    moderate_pruning: tuple[float, float] = _stated(
        (0.2, 0.85), "densities called moderate pruning"
    )
    high_pruning: tuple[float, float] = _stated((0.01, 0.1), "densities called high pruning")
    any_pruning: tuple[float, float] = _stated((0.01, 0.85), "densities of claims that name none")
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
    mends_far_more: float = _stated(
        25.0,
        "'far better', registered a second time: rids the other mask of more than this share of "
        "its errors, %",
    )
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
# As first registered, in commit 384315d: what low pruning is was changed before any record.
FIRST_THRESHOLDS = dataclasses.replace(THRESHOLDS, low_pruning=(0.5, 0.85))

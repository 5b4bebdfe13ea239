"""What others measured in the same experiments, to stand beside ours (accuracies on test images).

Facts quoted from their reports; no line of their code is here. Where they give a round and no
density, it is the one that the paper's keep rates lead to after as many rounds.
"""

import math
from typing import NamedTuple

import pandas as pd

from dltlib import catalogue
from dltlib.claims.statistics import interval


class Reported(NamedTuple):
    """Somebody's test accuracy, %, of an arm on a network, at a density or in a round."""

    source: str
    network: str
    arm: str
    density: float | None
    round: int | None
    accuracy: float


_TICKET, _REINIT = "large_final/rewind/zero", "large_final/reinit/zero"
GUNDA, TAOUDI = "Gunda 2026", "Taoudi"  # as in the bibliography


def _at_densities(network: str, accuracies: dict[float, float]) -> list[Reported]:
    return [
        Reported(GUNDA, network, _TICKET, density, None, accuracy)
        for density, accuracy in accuracies.items()
    ]


def _at_rounds(network: str, arm: str, accuracies: tuple[float, ...]) -> list[Reported]:
    rounds = (0, 5, 10, 15, 18)
    return [
        Reported(TAOUDI, network, arm, None, number, accuracy)
        for number, accuracy in zip(rounds, accuracies, strict=True)
    ]


TICKETS: tuple[Reported, ...] = (
    *_at_densities("fc", {1.0: 98.05, 0.21: 98.33, 0.036: 98.16, 0.012: 96.98}),
    *_at_densities("conv2", {1.0: 69.75, 0.26: 69.98, 0.088: 69.36, 0.019: 66.88}),
    *_at_densities("conv4", {1.0: 75.68, 0.66: 77.52, 0.13: 77.19, 0.017: 72.89}),
    *_at_rounds("conv2", _TICKET, (69.1, 69.7, 69.1, 67.7, 64.8)),
    *_at_rounds("conv2", _REINIT, (68.7, 65.6, 50.7, 42.7, 38.2)),
    *_at_rounds("conv4", _TICKET, (74.0, 74.9, 75.2, 73.7, 71.8)),
    *_at_rounds("conv4", _REINIT, (72.7, 69.4, 56.1, 45.0, 40.3)),
    *_at_rounds("conv6", _TICKET, (72.6, 75.0, 75.0, 68.9, 61.4)),
    *_at_rounds("conv6", _REINIT, (73.0, 65.4, 40.5, 10.0, 10.0)),
)
# Masks that may also turn a weight's sign (Koster et al. 2022): accuracy and weights left, both %.
SIGNED_SUPERMASKS: dict[str, tuple[float, float]] = {
    "fc": (97.48, 3.8),
    "conv2": (68.37, 0.6),
    "conv4": (77.40, 2.9),
    "conv6": (79.17, 2.4),
}
NEAR = 1.5  # ours stands beside theirs where the densities differ by no more than this factor


def beside(table: pd.DataFrame, network: str, source: str) -> pd.DataFrame:
    """Somebody's tickets on a network beside those of a record's table, one row for each of theirs.

    Columns: arm, density, theirs, our density, ours (mean over the seeds), low, high; all but the
    arm in percent, ours NaN where the record has no such arm, or no round of about that density.

    >>> claims.beside(record.table, "fc", claims.GUNDA)[["density", "theirs"]].values.tolist()[0]
    [100.0, 98.05]
    """
    rows = []
    for one in TICKETS:
        if (one.source, one.network) != (source, network):
            continue
        density = one.density or _density(network, one.round or 0)
        own = table[table["arm"] == one.arm]
        at = own.groupby("round")["density"].mean()
        ours = low = high = our_density = math.nan
        if len(at):
            number = (at.map(math.log) - math.log(density)).abs().idxmin()
            near = math.exp(abs(math.log(at[number] / density))) <= NEAR
            if near and (number == 0) == (density == 1):
                our_density = at[number]
                ours, low, high = interval(own[own["round"] == number]["test_accuracy"])
        shares = (density, our_density, ours, low, high)
        density, our_density, ours, low, high = (100 * share for share in shares)
        rows.append((one.arm, density, one.accuracy, our_density, ours, low, high))
    names = ["arm", "density", "theirs", "our density", "ours", "low", "high"]
    return pd.DataFrame(rows, columns=names)


def _density(network: str, rounds: int) -> float:
    """The share of all weights left after so many of the paper's rounds."""
    from dltlib import networks  # which needs torch: only here

    known = catalogue.NETWORKS[network]
    built = networks.build(network, (1, 28, 28) if network == "fc" else (3, 32, 32))
    rates = {"conv": known.keep_conv, "dense": known.keep_dense, "output": known.keep_output}
    left = sum(layer.weight_count * rates[layer.role] ** rounds for layer in built.layers)
    return left / built.weight_count

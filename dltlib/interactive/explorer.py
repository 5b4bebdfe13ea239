"""Data of the explorer: every record, and every claim with its numbers for any window.

What a claim measures is decided by Python alone. The page lets its reader drag the window of
densities that a claim names, and a window matters only by the rounds that fall into it; so each
comparison is measured here once for every run of neighbouring rounds, and the page looks its
numbers up. Only the interval, the bar and the verdict are computed anew in the browser
(``verdict.js``, which tests hold to `dltlib.claims`).
"""

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from dltlib import catalogue, claims, records
from dltlib.claims import ALL_NETWORKS, NETWORKS, THRESHOLDS, Claim, Comparison
from dltlib.figures.styles import labels, style
from dltlib.interactive.scripts import numbers, source
from dltlib.records import Record

# What can be drawn of a record: a name for the axis, and the unit. Shares become percent.
METRICS: dict[str, tuple[str, str]] = {
    "test_accuracy": ("Test accuracy at early stopping", "%"),
    "final_test_accuracy": ("Test accuracy after the last iteration", "%"),
    "validation_accuracy": ("Validation accuracy at early stopping", "%"),
    "training_loss": ("Training loss, last epoch", ""),
    "early_iteration": ("Early-stopping iteration", ""),
    "density": ("Weights left", "%"),
    "shrunk_share": ("Moved towards zero, of all candidates", "%"),
    "pruned_shrunk_share": ("Moved towards zero, of those pruned", "%"),
    "kept_flipped_share": ("Sign flipped, of those kept", "%"),
    "turned_share": ("Sign turned by this round's training", "%"),
}
# Six digits are more than accuracies on ten thousand images have.
_DIGITS = 6


def scripts(directory: Path) -> Iterator[tuple[str, object]]:
    """(name, value) of every script: an index, the records, the claims."""
    shelf = {
        file.stem: records.read(file.stem, directory)
        for file in sorted(directory.glob("*.parquet"))
    }
    judged = {}
    for one in claims.CLAIMS.values():
        for network in (*NETWORKS, *([ALL_NETWORKS] if one.across else [])):
            for preset in catalogue.PRESETS:
                if (found := claim_data(one, network, preset, shelf)) is not None:
                    judged[f"{one.name}-{network}-{preset}"] = found
    yield "records/index", index(shelf, judged)
    for name, record in shelf.items():
        yield f"records/{name}", record_data(name, record)
    for name, value in judged.items():
        yield f"claims/{name}", value


def index(shelf: dict[str, Record], judged: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What there is to choose from, and the thresholds as they are stated."""
    return {
        "records": [_choices(name, record) for name, record in shelf.items()],
        "titles": {name: one.title for name, one in catalogue.EXPERIMENTS.items()},
        "metrics": METRICS,
        "thresholds": {
            one.name: {"value": getattr(THRESHOLDS, one.name), "meaning": one.metadata["meaning"]}
            for one in dataclasses.fields(THRESHOLDS)
        },
        "claims": [
            {
                "id": one.name,
                "sentence": one.sentence,
                "reading": one.reading,
                # Networks in the order of the scorecard, each with its presets, largest first.
                "scopes": _scopes(one, judged),
            }
            for one in claims.CLAIMS.values()
        ],
    }


def _scopes(one: Claim, judged: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    scopes: dict[str, list[str]] = {}
    for value in judged.values():
        if value["claim"] == one.name:
            scopes.setdefault(value["network"], []).append(value["preset"])
    return scopes


def _choices(name: str, record: Record) -> dict[str, Any]:
    plan = record.plan
    return {
        "name": name,
        "experiment": plan["experiment"],
        "network": plan["network"],
        "preset": plan["preset"],
        "scale": record.scale(),
        "seeds": int(record.table["seed"].nunique()),
    }


def record_data(name: str, record: Record) -> dict[str, Any]:
    """A record: ``columns[metric][arm][seed][round]``, None where it has no number."""
    table, plan = record.table, record.plan
    arms = list(dict.fromkeys([*plan["arms"], *table["arm"]]))
    seeds, rounds = sorted(set(table["seed"])), sorted(set(table["round"]))
    places = pd.MultiIndex.from_product([arms, seeds, rounds])
    rows = table.set_index(records.KEY).reindex(places)
    short = labels(arms)
    columns = {}
    for metric in METRICS:
        if metric in rows and rows[metric].notna().any():
            values = numbers(rows[metric].astype(float), _DIGITS)
            columns[metric] = _cut(_cut(values, len(rounds)), len(seeds))
    return {
        **_choices(name, record),
        "epochs_across": catalogue.EXPERIMENTS[plan["experiment"]].kind == "learned_masks",
        "arms": [
            {
                "name": arm,
                "label": short[arm],
                "color": style(arm).color,
                "dashes": style(arm).dashes,
            }
            for arm in arms
        ],
        "seed_names": [int(seed) for seed in seeds],
        "rounds": [int(number) for number in rounds],
        "columns": columns,
        **source(record),
    }


def _cut(values: list[Any], length: int) -> list[list[Any]]:
    return [values[first : first + length] for first in range(0, len(values), length)]


# --- claims -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Watched(claims.Evidence):
    """Evidence that notes, in order, what is read of it."""

    # (experiment, network, arm, column), and (experiment, arm, name of the window).
    grids: dict[tuple[str, str, str, str], None] = field(default_factory=dict)
    windows: dict[tuple[str, str, str], None] = field(default_factory=dict)

    def grid(
        self,
        experiment: str,
        arm: str,
        column: str = "test_accuracy",
        network: str | None = None,
    ) -> pd.DataFrame:
        """As `claims.Evidence.grid`."""
        self.grids[experiment, network or self.network, arm, column] = None
        return super().grid(experiment, arm, column, network)

    def window(self, experiment: str, arm: str, name: str) -> list[int]:
        """As `claims.Evidence.window`."""
        self.windows[experiment, arm, name] = None
        return super().window(experiment, arm, name)


def claim_data(
    one: Claim, network: str, preset: str, shelf: dict[str, Record]
) -> dict[str, Any] | None:
    """A claim on a network by the records of one preset; None where a record is missing."""
    scope = NETWORKS if network == ALL_NETWORKS else (network,)
    wanted = {
        (experiment, other): f"{experiment}-{other}-{preset}"
        for other in scope
        for experiment in one.experiments
    }
    if not set(wanted.values()) <= set(shelf):
        return None
    evidence = {key: shelf[name] for key, name in wanted.items()}
    compared = [
        comparison_data(comparison, evidence, network) for comparison in one.comparisons(network)
    ]
    read = [grid for comparison in compared for grid in comparison.pop("read")]
    arms = {
        name: list(dict.fromkeys(arm for *place, arm, _ in read if tuple(place) == key))
        for key, name in wanted.items()
    }
    return {
        "claim": one.name,
        "network": network,
        "preset": preset,
        "records": list(wanted.values()),
        # What the page draws first: the arms that are compared, by what is measured of them.
        "arms": arms,
        "metric": next((column for *_, column in read if column != "density"), "test_accuracy"),
        "comparisons": compared,
    }


def comparison_data(
    comparison: Comparison, evidence: dict[tuple[str, str], Record], network: str
) -> dict[str, Any]:
    """A comparison's numbers: ``entries``, each the values of its seeds and the reference's level.

    With a window there is an entry for every pair of ``densities`` that can bound it: first the
    pairs that begin at the lowest density, by where they end. Without one there is a single entry.
    Where a comparison has no number, its entry says why.
    """
    watched = _Watched(evidence, network)
    stated = _measured(comparison, watched)
    names = sorted({name for *_, name in watched.windows})
    result: dict[str, Any] = {
        "name": comparison.name,
        "unit": comparison.unit,
        "paper": comparison.paper,
        "bar": getattr(THRESHOLDS, comparison.bar) if comparison.bar else 0.0,
        "bar_name": comparison.bar,
        "window": None,
        "densities": [],
        "entries": [stated],
        "read": list(watched.grids),
    }
    if len(names) != 1:  # no claim has two; if one ever does, it is shown and not dragged
        return result
    densities: set[float] = set()
    for experiment, arm, _ in watched.windows:
        density = watched.grid(experiment, arm, "density").mean() / 100
        densities |= set(density[density.index > 0])
    ends = sorted(densities)
    result |= {"window": names[0], "densities": ends, "entries": []}
    for low, high in itertools.combinations_with_replacement(ends, 2):
        window: dict[str, Any] = {names[0]: (low, high)}
        limits = dataclasses.replace(THRESHOLDS, **window)
        result["entries"].append(_measured(comparison, dataclasses.replace(watched, limits=limits)))
    return result


def _measured(comparison: Comparison, evidence: claims.Evidence) -> dict[str, Any]:
    """The effect of each seed and the mean of the reference, or why there is none."""
    try:
        values = comparison.measure(evidence)
        level = None
        if comparison.reference is not None:
            reference = comparison.reference(evidence)
            values = (values - reference).dropna()
            level = float(reference[values.index].mean())
    except claims.Undecided as undecided:
        return {"reason": str(undecided)}
    return {
        "seeds": [int(seed) for seed in values.index],
        "values": numbers(values, 9),
        "level": level,
    }

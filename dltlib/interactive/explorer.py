"""Data of the explorer: every record, and every claim with its numbers for any window.

What a claim measures is decided by Python alone. The page lets its reader drag the window of
densities that a claim names, and a window matters only by the rounds that fall into it; so each
comparison is measured here once for every run of neighbouring rounds, and the page looks its
numbers up. Only the interval, the bar and the verdict are computed anew in the browser
(``verdict.js``, which tests hold to `dltlib.claims`).
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from dltlib import catalogue, claims, records
from dltlib.claims import ALL_NETWORKS, NETWORKS, THRESHOLDS, Claim, Comparison
from dltlib.figures.styles import DOTTED, Style, labels, style
from dltlib.interactive.scripts import numbers, source
from dltlib.kinds import KINDS
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
NO_RECORD = "no record"  # in place of a preset
# By claim and network, what `bases` gives.
Offered = dict[str, dict[str, dict[str, dict[str, Any]]]]
# What decides which rounds are read: it is not what is compared.
_CHOOSING = ("density", "validation_accuracy")
# Six digits are more than accuracies on ten thousand images have.
_DIGITS = 6


def scripts(directory: Path) -> Iterator[tuple[str, object]]:
    """(name, value) of every script: an index, the records, the claims.

    Raises `UserError` for a damaged record.
    """
    shelf = claims.Shelf(directory)
    read = {name: records.read(name, directory) for name in records.available(directory)}
    shelf.read |= read
    offered: Offered = {}
    if read:  # else there is nothing to look at, and the page says that
        for one in claims.CLAIMS.values():
            networks = (*NETWORKS, *([ALL_NETWORKS] if one.across else []))
            offered[one.name] = {network: bases(one, network, shelf) for network in networks}
    yield "records/index", index(read, offered)
    for name, record in read.items():
        yield f"records/{name}", record_data(name, record)
    for scopes in offered.values():
        for basis in scopes.values():
            for value in basis.values():
                yield f"claims/{value['file']}", value


def index(read: dict[str, Record], offered: Offered) -> dict[str, Any]:
    """What there is to choose from, and the thresholds as they are stated.

    Records of one experiment and network stand side by side, the largest first.
    """
    return {
        "records": [_choices(*named) for named in sorted(read.items(), key=_place)],
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
                # Networks in the order of the scorecard; of each the presets, the scorecard's
                # first, each with the script that has the claim's data.
                "scopes": {
                    network: {preset: value["file"] for preset, value in basis.items()}
                    for network, basis in offered.get(one.name, {}).items()
                },
            }
            for one in claims.CLAIMS.values()
        ],
    }


def _place(named: tuple[str, Record]) -> tuple[Any, ...]:
    """Side by side what is of one experiment and network, in the order of `records.ranked`."""
    name, record = named
    rank = records.precedence(name, record.manifest)
    return record.plan["experiment"], record.plan["network"], *rank


def _choices(name: str, record: Record) -> dict[str, Any]:
    plan = record.plan
    return {
        "name": name,
        "experiment": plan["experiment"],
        "network": plan["network"],
        "preset": plan["preset"],
        "words": record.in_full(),
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
        "epochs_across": KINDS[catalogue.EXPERIMENTS[plan["experiment"]].kind].counts == "epochs",
        "arms": [
            {
                "name": arm,
                "label": short[arm],
                **line._asdict(),
            }
            for arm, line in _lines(arms).items()
        ],
        "seed_names": [int(seed) for seed in seeds],
        "rounds": [int(number) for number in rounds],
        "columns": columns,
        **source(record),
    }


def _lines(arms: Sequence[str]) -> dict[str, Style]:
    """How each arm is drawn: those that figures draw alike, in panels of their own (masks over
    other values, or read off at other epochs), have dashes of their own here."""
    drawn: dict[str, Style] = {}
    for arm in arms:
        alike = style(arm)
        again = sum(style(other) == alike for other in drawn)
        long, dots = 2.0 + 2 * (again % 5), again // 5 + 1
        more = (long, 1.6, *DOTTED * dots) if again else ()
        drawn[arm] = alike._replace(dashes=(*alike.dashes, *more))
    return drawn


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


def bases(one: Claim, network: str, shelf: claims.Shelf) -> dict[str, dict[str, Any]]:
    """The data of a claim on a network, by the presets that it can rest on.

    First by the records that the scorecard chose, whichever are there (`claim_data`), then by those
    of each single preset that has all of them, if they are others.
    """
    stated = claim_data(one, network, shelf)
    found = {stated["preset"]: stated}
    for preset in catalogue.PRESETS:
        evidence = shelf.choose(one, network, preset)
        names = {record.name for record in evidence.values()}
        complete = len(evidence) == len(_scope(network)) * len(one.experiments)
        if complete and names != set(stated["records"]):
            found.setdefault(preset, claim_data(one, network, shelf, preset))
    return found


def _scope(network: str) -> tuple[str, ...]:
    return NETWORKS if network == ALL_NETWORKS else (network,)


def claim_data(
    one: Claim, network: str, shelf: claims.Shelf, preset: str | None = None
) -> dict[str, Any]:
    """A claim on a network by the records that the scorecard chooses for it (at a preset).

    Where one is missing, or none is there, comparisons say so: they have a reason and no numbers.
    """
    evidence = shelf.choose(one, network, preset)
    result = claims.judge(one.name, evidence, network)
    compared = [
        comparison_data(comparison, evidence, network) for comparison in one.comparisons(network)
    ]
    read = [grid for comparison in compared for grid in comparison.pop("read")]
    arms = {
        record.name: list(dict.fromkeys(arm for *place, arm, _ in read if tuple(place) == key))
        for key, record in evidence.items()
    }
    return {
        "file": f"{one.name}-{network}" + (f"-{preset}" if preset else ""),
        "claim": one.name,
        "network": network,
        "preset": result.preset or NO_RECORD,
        "records": list(result.records),
        # What the page draws first: the arms that are compared, by what is measured of them.
        "arms": arms,
        "metric": next((column for *_, column in read if column not in _CHOOSING), "test_accuracy"),
        "comparisons": compared,
    }


def comparison_data(
    comparison: Comparison, evidence: Mapping[tuple[str, str], Record], network: str
) -> dict[str, Any]:
    """A comparison's numbers: the values of its seeds and the reference's level, ``stated`` as they
    are judged, and ``entries`` for other windows.

    With a window there is an entry for every pair of ``densities`` that can bound it: first the
    pairs that begin at the lowest density, by where they end. Without one there is none. Where a
    comparison has no number, its entry says why.
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
        "stated": stated,
        "window": None,
        "densities": [],
        "entries": [],
        "read": list(watched.grids),
    }
    ends = _densities(watched)
    if len(names) != 1 or not ends:  # no claim has two; if one ever does, it is not dragged
        return result
    result |= {"window": names[0], "densities": ends}
    for low, high in itertools.combinations_with_replacement(ends, 2):
        window: dict[str, Any] = {names[0]: (low, high)}
        limits = dataclasses.replace(THRESHOLDS, **window)
        result["entries"].append(_measured(comparison, dataclasses.replace(watched, limits=limits)))
    return result


def _densities(watched: _Watched) -> list[float]:
    """The densities of the pruned rounds that windows were asked about, ascending; none where a
    record or an arm is missing, or may not be read."""
    densities: set[float] = set()
    try:
        for experiment, arm, _ in watched.windows:
            density = watched.grid(experiment, arm, "density").mean() / 100
            densities |= set(density[density.index > 0])
    except claims.Undecided:
        return []
    return sorted(densities)


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

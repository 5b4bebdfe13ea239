"""The verdict on each claim by the records there are."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dltlib import catalogue, records
from dltlib.claims.evidence import Evidence
from dltlib.claims.paper import ALL_NETWORKS, CLAIMS, Claim
from dltlib.claims.statistics import Result, combine, compare
from dltlib.claims.thresholds import THRESHOLDS, Thresholds
from dltlib.errors import UserError
from dltlib.records import Record
from dltlib.registry import check_name

NETWORKS = tuple(catalogue.TABLE_2)  # those of the paper


def judge(
    name: str,
    evidence: Mapping[tuple[str, str], Record],
    network: str = "fc",
    limits: Thresholds = THRESHOLDS,
) -> Result:
    """The verdict on one claim by the records given, each under (experiment, network).

    ``network`` is `ALL_NETWORKS` for what a claim says about networks compared with one another.
    Never raises for want of records: that is a verdict too.

    >>> result = claims.judge("criteria-1", {("criteria", "fc"): record})
    >>> result.verdict, round(result.weakest.effect, 2)
    ('reproduced', 0.9)
    """
    one = CLAIMS.find(name)
    if network not in (*NETWORKS, *([ALL_NETWORKS] if one.across else [])):
        raise UserError(f"{name} is judged on one of {', '.join(NETWORKS)}, not on {network!r}")
    read = {pair: evidence[pair] for pair in _pairs(one, network) if pair in evidence}
    known = Evidence(read, network, limits)
    parts = tuple(compare(comparison, known) for comparison in one.comparisons(network))
    verdict, reason, weakest = combine(parts)
    presets = dict.fromkeys(record.plan["preset"] for record in read.values())
    return Result(
        claim=name,
        network=network,
        verdict=verdict,
        reason=reason,
        weakest=weakest,
        parts=parts,
        preset=" and ".join(presets) or None,
        records=tuple(record.name for record in read.values()),
    )


def _pairs(one: Claim, network: str) -> list[tuple[str, str]]:
    """The experiments and networks that a claim needs records of."""
    networks = NETWORKS if network == ALL_NETWORKS else (network,)
    return [(experiment, other) for other in networks for experiment in one.experiments]


def scorecard(
    networks: Sequence[str] | None = None,
    preset: str | None = None,
    limits: Thresholds = THRESHOLDS,
    directory: Path | None = None,
) -> list[Result]:
    """Every claim judged on every network (default: all four, and what compares them).

    Records come from ``directory`` (default: the book's). Each claim reads the largest record of
    every experiment that it needs (or that of ``preset``), all on the same data. Raises `UserError`
    for an unknown network or preset, and for a damaged record.

    >>> results = claims.scorecard(["fc"], "tiny")
    >>> results[0].claim, results[0].network, results[0].preset
    ('criteria-1', 'fc', 'tiny')
    """
    for network in networks or ():
        if network not in NETWORKS:
            raise UserError(
                f"unknown network {network!r}: claims are judged on the paper's, choose one of "
                f"{', '.join(NETWORKS)}"
            )
    if preset is not None:
        check_name("preset", preset, catalogue.PRESETS)
    shelf = Shelf(directory)
    results = []
    for one in CLAIMS.values():
        scopes = [*(networks or NETWORKS)]
        if one.across and networks is None:
            scopes.append(ALL_NETWORKS)
        for network in scopes:
            results.append(judge(one.name, shelf.choose(one, network, preset), network, limits))
    return results


class Shelf:
    """Records of a directory, each read once, when first asked for."""

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory
        self.read: dict[str, Record] = {}

    def choose(
        self, one: Claim, network: str, preset: str | None = None
    ) -> dict[tuple[str, str], Record]:
        """The records that a claim rests on: of each pair the largest, all on the same data.

        Digits are never compared with the paper's images; where both have records, the data set
        counts that more of what the claim needs is there for, or else the paper's.
        """
        pairs = _pairs(one, network)
        by_data = [
            {
                pair: name
                for pair in pairs
                if (name := records.largest(*pair, preset, self.directory, digits)) is not None
            }
            for digits in (False, True)
        ]
        return {pair: self._record(name) for pair, name in max(by_data, key=len).items()}

    def _record(self, name: str) -> Record:
        if name not in self.read:
            self.read[name] = records.read(name, self.directory)
        return self.read[name]

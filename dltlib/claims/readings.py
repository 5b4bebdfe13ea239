"""Other readings of the same records: what becomes of a verdict where a choice had been another.

A verdict rests on choices that were fixed beforehand and might have been others: where the window
of densities ends, which of two accuracies is read, how wide a margin is. Each is changed alone, the
others staying as they are stated; a change that moves none of a claim's numbers is no reading of
it (no margin where there is none, no window that the record does not reach).
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from dltlib import paths, records
from dltlib.claims.evidence import Evidence
from dltlib.claims.paper import CLAIMS, Claim
from dltlib.claims.statistics import Part, Result, at_confidence, combine, compare
from dltlib.claims.thresholds import CHANCE, THRESHOLDS, Thresholds
from dltlib.records import Record

STATED = "as stated"
WINDOW_ENDS = (0.005, 0.02)  # densities, in place of those windows' end that reach 1 %
MARGINS = {"margins halved": 0.5, "margins doubled": 2.0}


@dataclass(frozen=True)
class Reading:
    """What is read otherwise, and the verdict that it gives."""

    change: str
    verdict: str


def readings(
    name: str, evidence: Mapping[tuple[str, str], Record], network: str = "fc"
) -> tuple[Reading, ...]:
    """The verdict on a claim as it is stated, then by every other reading that concerns it.

    >>> claims.readings("criteria-1", {("criteria", "fc"): record})[0]
    Reading(change='as stated', verdict='reproduced')
    """
    known = Evidence(evidence, network)
    final = {key: _final(record) for key, record in evidence.items()}
    changed = {STATED: known}
    for end in WINDOW_ENDS:
        changed[f"densities down to {100 * end:g} %"] = _replaced(known, _windows(end))
    changed["accuracy after the last iteration"] = Evidence(final, network)
    for words, factor in MARGINS.items():
        changed[words] = _replaced(known, _margins(factor))
    result: list[Reading] = []
    stated: list[tuple[str, ...]] = []
    for words, read in changed.items():
        parts = [compare(one, read) for one in CLAIMS.find(name).comparisons(network)]
        numbers = _numbers(parts)
        stated = stated or numbers
        if words == STATED or numbers != stated:
            result.append(Reading(words, combine(parts)[0]))
    return tuple(result)


def readings_of(result: Result, directory: Path | None = None) -> tuple[Reading, ...]:
    """The readings of a verdict by the records that it rests on, from ``directory`` (default: the
    book's). Raises `UserError` if one of them is missing or damaged.

    >>> real = claims.judge("criteria-1", {("criteria", "fc"): records.read("criteria-fc-tiny")})
    >>> claims.readings_of(real)[0].verdict == real.verdict
    True
    """
    folder = directory or paths.records()
    files = tuple(_File(folder, name, _manifest(folder, name)) for name in result.records)
    return _readings_of(CLAIMS.find(result.claim), result.network, files)


class _File(NamedTuple):
    """A record as it lies there now. Its manifest, which holds the table's checksum, is a part of
    what the caches below go by: made anew, or looked for elsewhere, it is another one."""

    folder: Path
    name: str
    manifest: bytes


def _manifest(folder: Path, name: str) -> bytes:
    file = folder / f"{name}.json"
    return file.read_bytes() if file.exists() else b""  # to be refused by `records.read`


@functools.lru_cache(maxsize=256)  # a page asks for its box, its sentences and its table
def _readings_of(one: Claim, network: str, files: tuple[_File, ...]) -> tuple[Reading, ...]:
    """``one``: a claim that is defined again, as in a notebook, is another one too."""
    read = [_record(file) for file in files]
    evidence = {(record.plan["experiment"], record.plan["network"]): record for record in read}
    return readings(one.name, evidence, network)


def holds(given: Sequence[Reading]) -> str:
    """In how many readings other than the stated one, which comes first, a verdict is the same.

    >>> claims.holds([claims.Reading("a", "reproduced"), claims.Reading("b", "undecided")])
    'the same in 0 of 1 other reading'
    """
    stated, *others = (reading.verdict for reading in given)
    if not others:
        return "no other reading changes its numbers"
    plural = "s" * (len(others) != 1)
    return f"the same in {others.count(stated)} of {len(others)} other reading{plural}"


def corrected(result: Result) -> Result:
    """The verdict where the intervals of a claim's comparisons hold all at once (Bonferroni).

    Each of its m comparisons then has an interval of confidence 1 - (1 - c) / m.

    >>> real = claims.judge("criteria-3", {("criteria", "fc"): records.read("criteria-fc-tiny")})
    >>> claims.corrected(real).weakest.low <= real.weakest.low  # wider
    True
    """
    confidence = 1 - (1 - THRESHOLDS.confidence) / len(result.parts)
    parts = tuple(at_confidence(part, confidence) for part in result.parts)
    verdict, reason, weakest = combine(parts)
    return dataclasses.replace(result, verdict=verdict, reason=reason, weakest=weakest, parts=parts)


def and_corrected(result: Result) -> str:
    """The verdict, and in brackets the one by `corrected` where it is another.

    >>> claims.and_corrected(claims.judge("criteria-1", {}))
    'undecided'
    """
    at_once = corrected(result).verdict
    return result.verdict if at_once == result.verdict else f"{result.verdict} ({at_once})"


def robustness(results: Sequence[Result], directory: Path | None = None) -> pd.DataFrame:
    """How the verdicts fare by other readings, as a page shows it: one row for each result.

    The index names the claim; columns verdict, other readings ("3 of 4": in so many it is the
    same), otherwise (the readings that give another, with it) and corrected (by `corrected`).

    >>> real = claims.judge("criteria-1", {("criteria", "fc"): records.read("criteria-fc-tiny")})
    >>> claims.robustness([real]).columns.tolist()
    ['verdict', 'other readings', 'otherwise', 'corrected']
    """
    rows = {}
    for result in results:
        _, *others = readings_of(result, directory)
        other = [f"{one.change}: {one.verdict}" for one in others if one.verdict != result.verdict]
        again = corrected(result).verdict
        rows[result.claim] = {
            "verdict": result.verdict,
            "other readings": f"{len(others) - len(other)} of {len(others)}" if others else "none",
            "otherwise": "; ".join(other),
            "corrected": "the same" if again == result.verdict else again,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="claim")


@functools.lru_cache(maxsize=32)
def _record(file: _File) -> Record:
    return records.read(file.name, file.folder)


def _replaced(known: Evidence, limits: Thresholds) -> Evidence:
    """The same evidence, which has the arms that were read already, by other limits."""
    return dataclasses.replace(known, limits=limits)


def _windows(end: float) -> Thresholds:
    least = THRESHOLDS.any_pruning[0]
    ending: dict[str, Any] = {
        one.name: (end, getattr(THRESHOLDS, one.name)[1])
        for one in dataclasses.fields(THRESHOLDS)
        if one.name.endswith("pruning") and getattr(THRESHOLDS, one.name)[0] == least
    }
    return dataclasses.replace(THRESHOLDS, **ending)


def _margins(factor: float) -> Thresholds:
    """A half is a half: ``mostly`` is no margin."""
    (match, most_match), (close, most_close) = THRESHOLDS.match, THRESHOLDS.close
    return dataclasses.replace(
        THRESHOLDS,
        match=(factor * match, factor * most_match),
        close=(factor * close, factor * most_close),
        far_above_chance=CHANCE + factor * (THRESHOLDS.far_above_chance - CHANCE),
        far_better=factor * THRESHOLDS.far_better,
        mends_far_more=factor * THRESHOLDS.mends_far_more,
    )


def _final(record: Record) -> Record:
    """A record in which the accuracy after the last iteration stands for that at early stopping."""
    table = record.table
    if "final_test_accuracy" in table:
        last = table["final_test_accuracy"].fillna(table["test_accuracy"])  # no training, no end
        table = table.assign(test_accuracy=last)
    return dataclasses.replace(record, table=table)


def _numbers(parts: Sequence[Part]) -> list[tuple[str, ...]]:
    """As words, in which one missing number is like another."""
    return [tuple(map(str, (part.effect, part.low, part.high, part.bar))) for part in parts]

"""Verdicts and the paper's table 2 as tables and as lines for people."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dltlib import catalogue, records
from dltlib.claims.evidence import Evidence
from dltlib.claims.judging import NETWORKS, Shelf, judge
from dltlib.claims.measures import learned
from dltlib.claims.paper import CLAIMS, OUR_TABLE_2
from dltlib.claims.statistics import (
    FEWEST,
    MANY,
    OUTCOMES,
    PERCENT,
    UNDECIDED,
    Comparison,
    Interval,
    Part,
    Result,
    compare,
    half_width,
    interval,
    seeds_to_decide,
)
from dltlib.records import Record

FAILED = "†"


def frame(results: Sequence[Result], verbose: bool = False) -> pd.DataFrame:
    """One row for each claim and network, or (``verbose``) for each of its comparisons.

    Columns: claim, network, verdict, comparison, effect, low, high, bar (all in unit), paper (None
    where it gives no figure), seeds, reason, preset, records.

    >>> claims.frame([result])[["claim", "network", "verdict"]].values.tolist()
    [['criteria-1', 'fc', 'reproduced']]
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


def in_brackets(part: Part, decimals: int = 2) -> str:
    """A comparison's effect and interval as a table shows it; of one or two seeds, each one's.

    >>> claims.in_brackets(result.weakest)
    '0.90 [0.53, 1.27]'
    """
    if 0 < part.seeds < FEWEST:
        return " and ".join(bracketed(value, math.nan, math.nan, decimals) for value in part.values)
    return bracketed(part.effect, *part.ends(), decimals)


def bracketed(mean: float, low: float, high: float, decimals: int = 2) -> str:
    """An interval as a table shows it; empty for a mean that is no number.

    >>> claims.bracketed(-0.13, -0.9, 0.64)
    '−0.13 [−0.90, 0.64]'
    """
    if math.isnan(mean):
        return ""
    middle, left, right = (
        f"{value:.{decimals}f}".replace("-", "\N{MINUS SIGN}") for value in (mean, low, high)
    )
    return middle if math.isnan(low) else f"{middle} [{left}, {right}]"


def _figure(part: Part) -> str:
    return "" if part.paper is None else f"{part.paper:g}".replace("-", "\N{MINUS SIGN}")


def comparisons(results: Sequence[Result]) -> pd.DataFrame:
    """Every comparison that verdicts rest on, as a chapter shows it, one row each.

    The index names the comparison; columns claim, effect (with its interval), threshold, the
    paper's figure where it gives one for any of them, and verdict, all strings.

    >>> claims.comparisons([result])["effect"].tolist()
    ['0.90 [0.53, 1.27]']
    """
    parts = [(result, part) for result in results for part in result.parts]
    rows = [
        {
            "claim": result.claim,
            "effect": in_brackets(part),
            "threshold": bracketed(part.bar, math.nan, math.nan),
        }
        | ({"paper": _figure(part)} if any(part.paper is not None for _, part in parts) else {})
        | {"verdict": part.outcome}
        for result, part in parts
    ]
    names = [part.name for result in results for part in result.parts]
    return pd.DataFrame(rows, index=names).rename_axis(columns="comparison")


def by_length(
    experiment: str, names: Sequence[str], network: str = "fc", directory: Path | None = None
) -> pd.DataFrame:
    """Claims about one experiment by the largest record of each preset on the paper's data.

    One row for each record, shortest training first, which the index tells in words; a column for
    each claim: its verdict and the effect of its weakest comparison. Where records differ in seeds,
    those with more are there once more with as many as the others, lest the length of training be
    given what the seeds did. Raises `UserError` for an unknown claim.

    >>> claims.by_length("zeros", ["zeros-2"]).index.tolist()[-1]
    '55 epochs, 24 rounds, 3 seeds'
    """
    largest = (
        records.largest(experiment, network, preset, directory, digits=False)
        for preset in catalogue.PRESETS
    )
    found = [records.read(name, directory) for name in largest if name is not None]
    found.sort(key=lambda record: record.plan["epochs"])
    fewest = min((record.plan["seeds"] for record in found), default=0)
    rows = {}
    for record in found:
        epochs, rounds, all_seeds = (record.plan[name] for name in ("epochs", "rounds", "seeds"))
        for seeds in sorted({fewest, all_seeds}):
            words = f"{epochs:,} epochs, {rounds} rounds, {seeds} seeds"
            part = {(experiment, network): record.first_seeds(seeds)}
            judged = [judge(claim, part, network) for claim in names]
            rows[words if seeds == all_seeds else f"{words} of {all_seeds}"] = {
                one.claim: f"{one.outcome}, {in_brackets(one.weakest)}" for one in judged
            }
    return pd.DataFrame(rows).T


def table_2(
    preset: str | None = None,
    networks: Sequence[str] = NETWORKS,
    directory: Path | None = None,
) -> pd.DataFrame:
    """The paper's table 2 beside ours, one row for each network and column of it.

    Columns: network, column, paper, ours, low, high (all in percent; NaN where there is no
    record), seeds, shown (ours in words), preset. Criterion masks are large_final_same_sign, the
    paper's best, at the density that validation accuracy chooses; records are chosen as
    `scorecard` does.

    >>> claims.table_2("tiny", ["fc"])[["column", "paper"]].values.tolist()[-1]
    ['trained weights', 97.7]
    """
    shelf, rows = Shelf(directory), []
    for network in networks:
        nothing = Evidence({}, network)
        evidence = shelf.choose(CLAIMS["supermask-5"], network, preset)
        # A row reads one record: they need not be of one scale.
        alone = [Evidence({pair: one}, network) for pair, one in evidence.items()]
        presets = dict.fromkeys(record.plan["preset"] for record in evidence.values())
        chosen = " and ".join(presets) or None
        for column, paper in catalogue.TABLE_2[network].items():
            comparison = Comparison(column, OUR_TABLE_2[column], unit=PERCENT)
            parts = [compare(comparison, known) for known in alone]
            part = max(parts, key=lambda one: one.seeds, default=compare(comparison, nothing))
            ours = (part.effect, *part.ends(), part.seeds, in_brackets(part, 1))
            rows.append((network, column, paper, *ours, chosen))
    names = ["network", "column", "paper", "ours", "low", "high", "seeds", "shown", "preset"]
    return pd.DataFrame(rows, columns=names)


def table_2_in_words(table: pd.DataFrame) -> pd.DataFrame:
    """`table_2` as the paper prints it, for a page: a row for each of its columns, and for each
    network that was measured the paper's figure and ours with its interval.

    A learned mask that did not learn (see `learned`) is marked `FAILED`.

    >>> table = claims.table_2("tiny", ["fc"])
    >>> claims.table_2_in_words(table).columns.tolist()
    [('fc', 'paper'), ('fc', 'ours')]
    """
    measured = table[table["network"].isin(table["network"][table["ours"].notna()])]
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for row in measured.itertuples():
        ours = row.shown
        if row.column.startswith("learned") and not learned(row.ours):
            ours = f"{ours} {FAILED}"
        cells.setdefault((row.network, "paper"), {})[row.column] = f"{row.paper:.1f}"
        cells.setdefault((row.network, "ours"), {})[row.column] = ours
    return pd.DataFrame(cells)


def describe(results: Sequence[Result], verbose: bool = False) -> list[str]:
    """Lines for people, claim by claim: what ``dltlib claims`` prints.

    ``verbose`` adds every comparison, and how the claim was read.

    >>> claims.describe([result])[-1]
    '1 reproduced; 0 not reproduced; 0 undecided; 0 not measured'
    """
    lines = []
    for name in dict.fromkeys(result.claim for result in results):
        one = CLAIMS.find(name)
        lines.append(f"{one.name}: {one.sentence}")
        if verbose:
            lines.append(f"  Read as: {one.reading}")
        for result in results:
            if result.claim != name:
                continue
            lines.append(f"  {result.network:6}{result.outcome.upper()}: {_in_words(result)}")
            if verbose:
                lines += [f"        {part.outcome}: {_in_words(part)}" for part in result.parts]
    counts = count(results)
    lines.append("; ".join(f"{number} {verdict}" for verdict, number in counts.items()))
    return lines


def would_take(result: Result) -> str:
    """What it would take to decide an open verdict, in words.

    >>> claims.would_take(claims.judge("signs-3", evidence.records))
    'no record of signs on fc'
    """
    part = result.weakest
    if 0 < part.seeds < FEWEST:
        return f"{FEWEST} seeds at least; there are {part.seeds}"
    if math.isnan(part.low) or math.isnan(part.bar):
        return part.reason
    open_parts = [one for one in result.parts if one.verdict == UNDECIDED and one.seeds >= FEWEST]
    needed = [(one.effect < one.bar, seeds_to_decide(one) or MANY + 1) for one in open_parts]
    # One comparison below its threshold decides; if all lie above, every one has to get clear.
    below = [seeds for is_below, seeds in needed if is_below]
    seeds = min(below) if below else max(seeds for _, seeds in needed)
    if seeds > MANY:
        return (
            f"more than {MANY} seeds, if they scatter as these {part.seeds} do and the means stay"
        )
    return f"about {seeds} seeds, if they scatter as these {part.seeds} do and the means stay"


def after_learning(record: Record, arm: str, column: str = "test_accuracy") -> Interval:
    """A column of a learned mask after its last epoch, over the seeds of its record, in percent.

    >>> learned = records.read("learned_supermasks-fc-tiny")
    >>> mean, low, high = claims.after_learning(learned, "learned/initial/plain", "density")
    >>> low <= mean <= high < 100
    True
    """
    evidence = Evidence({(record.plan["experiment"], record.plan["network"]): record}, "")
    grid = evidence.grid(record.plan["experiment"], arm, column, record.plan["network"])
    return interval(grid[grid.columns.max()])


def last_gains(record: Record, epochs: int = 1) -> tuple[int, pd.Series]:
    """What learned masks gained between their last test and that at least ``epochs`` before it.

    Returns how many epochs lie between the two (to the first test, where all are nearer), and the
    gain in points of test accuracy, the mean over seeds, indexed by arm.

    >>> learned = records.read("learned_supermasks-fc-tiny")
    >>> apart, gains = claims.last_gains(learned, epochs=2)
    >>> apart >= 2, set(gains.index) == set(learned.table["arm"])
    (True, True)
    """
    by_round = record.table.groupby(["arm", "round"])["test_accuracy"].mean().unstack("round")
    first, last = by_round.columns.min(), by_round.columns.max()
    since = max((one for one in by_round.columns if one <= last - epochs), default=first)
    return int(last - since), 100 * (by_round[last] - by_round[since])


def pilot(trials: Iterable[Record]) -> pd.DataFrame:
    """What a scale costs and what it can tell, one row for each record of the experiment ``pilot``.

    Indexed by scale in words. Columns: ("", "seconds"), computing time of a replica, dense and at
    both sizes; and under "larger" and "smaller", the two sizes: left, the share of weights in
    percent; accuracy of the first arm on the validation images in percent, for what is chosen by
    it must not have seen the others; decides, the least difference in points that
    five seeds tell from zero: the half width of their interval, for the deviation between seeds of
    the differences, seed by seed, between each other arm and the first, pooled over those arms.

    >>> claims.pilot([]).empty
    True
    """
    rows: dict[str, dict[Any, float]] = {}
    for record in trials:
        plan, table = record.plan, record.table
        first, *rest = plan["arms"]
        row: dict[Any, float] = {
            ("", "seconds"): record.manifest["seconds"] / (plan["seeds"] * len(plan["arms"]))
        }
        pruned = table[table["round"] > 0].groupby("round")
        for named, (_, found) in zip(("larger", "smaller"), pruned, strict=True):
            accuracy, seen = (
                100 * found.pivot(index="seed", columns="arm", values=f"{split}_accuracy")
                for split in ("test", "validation")
            )
            differences = accuracy[rest].sub(accuracy[first], axis=0)
            deviation = float(np.sqrt(differences.var(ddof=1).mean()))
            row[named, "left"] = 100 * found["density"].mean()
            row[named, "accuracy"] = seen[first].mean()
            row[named, "decides"] = half_width(deviation, 5)
        rows[f"{record.scale()}, {plan['epochs']} epochs, rate {plan['learning_rate']:g}"] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def count(results: Iterable[Result]) -> dict[str, int]:
    """How often each of `OUTCOMES` was found, in their order.

    A sentence counts once: a second registration of a claim is not counted.

    >>> claims.count([result])
    {'reproduced': 1, 'not reproduced': 0, 'undecided': 0, 'not measured': 0}
    """
    found = [result.outcome for result in results if not CLAIMS[result.claim].again]
    return {outcome: found.count(outcome) for outcome in OUTCOMES}


def _in_words(given: Result | Part) -> str:
    part = given.weakest if isinstance(given, Result) else given
    words = []
    if not math.isnan(part.effect):
        low, high = part.ends()
        ends = "" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
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

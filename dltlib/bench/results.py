"""A benchmark's record, and what its numbers say: ratios, shares of the machine's peaks, hours."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dltlib import files, paths
from dltlib.errors import UserError

LAST_ROUND = 24
# The programme to be done in a night: every arm of criteria, signs and zeros.
SEEDS, EPOCHS = 5, 30
LEARNED = "learned masks"  # the name of that part
_KEY = ["part", "way", "network", "width", "round", "replicas"]


@dataclass(frozen=True)
class Bench:
    """A benchmark's record. ``table`` has one row for each case and repetition."""

    facts: dict[str, Any]
    table: pd.DataFrame

    def provenance(self) -> str:
        """One sentence for a caption: machine, versions, date, commit and command."""
        facts = self.facts
        commit = facts["commit"][:10] + ("+" if facts["commit"].endswith("+") else "")
        shared = ""
        if facts["busy_with_others"] > 0.02:
            shared = f" (shared: {facts['busy_with_others']:.0%} of the work done was others')"
        return (
            f"{facts['device']}{shared}, data: {facts['data']}, torch "
            f"{facts['versions']['torch']}, numba {facts['versions']['numba']}, "
            f"{facts['finished'][:10]}, commit {commit}. "
            f"Remake: `{facts['command']}`."
        )


def record_path(gpu: bool = False, directory: Path | None = None) -> Path:
    """Where the record of a benchmark is: a CPU's and a GPU's are two."""
    return (directory or paths.records()) / ("bench-gpu.json" if gpu else "bench.json")


def write(target: Path, facts: Mapping[str, Any], cases: Sequence[Mapping[str, Any]]) -> None:
    """Write a record of a benchmark, atomically."""
    lines = ",\n".join(json.dumps(case) for case in cases)
    text = json.dumps(dict(facts), indent=1)[:-2] + f',\n "cases": [\n{lines}\n]\n}}\n'
    files.replace_file(target, lambda temporary: temporary.write_text(text))


def read(path: Path | None = None) -> Bench:
    """The committed benchmark of a CPU, or the one at ``path``.

    Raises `UserError` if it is missing or damaged.
    """
    path = path or record_path()
    try:
        facts = json.loads(path.read_text())
        table = pd.DataFrame(facts.pop("cases")).explode("milliseconds", ignore_index=True)
        table["milliseconds"] = table["milliseconds"].astype(float)
        table["repetition"] = table.groupby(_KEY, dropna=False).cumcount()
    except FileNotFoundError as error:
        raise UserError(f"no benchmark at {path}: 'dltlib bench' makes one") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is damaged: restore it with git, or remake it with 'dltlib bench'"
        ) from error
    return Bench(facts, table)


def conv_part(name: str, width: float) -> str:
    """What the part of such a network is called in the record."""
    return f"{name}, width {width:g}"


def times(bench: Bench, part: str) -> pd.DataFrame:
    """Median milliseconds per replica and iteration, with the 10th and 90th percentile."""
    rows = bench.table[bench.table["part"] == part]
    facts = ["density", "operations", "bytes"]
    table = rows.groupby([*_KEY, *facts], dropna=False, sort=False)["milliseconds"].quantile(
        [0.1, 0.5, 0.9]
    )
    return table.unstack().rename(columns={0.1: "low", 0.5: "median", 0.9: "high"}).reset_index()


def ratios(
    bench: Bench, part: str = "fc", way: str = "engine", against: str = "plain"
) -> pd.DataFrame:
    """How many times faster one way is than another, taken within each repetition.

    Columns: width, round, density, median, low, high (10th and 90th percentile).
    """
    rows = bench.table[bench.table["part"] == part]
    keys = ["width", "round", "repetition"]
    fast, slow = (rows[rows["way"] == name].set_index(keys) for name in (way, against))
    both = fast.join(slow["milliseconds"].rename("slow"), how="inner")
    both["ratio"] = both["slow"] / both["milliseconds"]
    table = both.groupby(["width", "round", "density"])["ratio"].quantile([0.1, 0.5, 0.9])
    table = table.unstack().rename(columns={0.1: "low", 0.5: "median", 0.9: "high"}).reset_index()
    return table.sort_values(["width", "round"], ignore_index=True)


def times_of_arithmetic(bench: Bench) -> pd.DataFrame:
    """What learning a mask costs, in terms of its matrix products at the machine's peak.

    As `ratios`; without a row where the record is older than this part.
    """
    return ratios(bench, LEARNED, way="square product", against="engine")


def peaks(bench: Bench) -> dict[str, float]:
    """The best seen: ``operations`` and ``bytes`` a second."""
    rows = bench.table[bench.table["part"] == "peaks"]
    seconds = rows["milliseconds"] / 1e3
    return {name: float((rows[name] / seconds).max()) for name in ("operations", "bytes")}


def shares_of_peak(bench: Bench, part: str) -> pd.DataFrame:
    """`times` with ``matrix_share`` and ``memory_share``: of the machine's measured peaks.

    What counts is what the surviving weights need (`arithmetic`; Adam's reading and writing), so
    a loop that multiplies by zeros gets no credit for it.
    """
    table, best = times(bench, part), peaks(bench)
    seconds = table["median"] / 1e3
    table["matrix_share"] = table["operations"] / seconds / best["operations"]
    table["memory_share"] = table["bytes"] / seconds / best["bytes"]
    return table


def arm_ratio(bench: Bench, part: str = "fc", rounds: int = LAST_ROUND) -> float:
    """How many times faster than the plain loop an arm is trained over rounds 0 to ``rounds``.

    No evaluation; rounds that were not measured lie on the line between those that were.
    """
    table = times(bench, part)
    costs = {}
    for way in ("engine", "plain"):
        times_of_way = table[table["way"] == way].set_index("round")["median"]
        every = times_of_way.reindex(range(rounds + 1)).interpolate(limit_direction="both")
        costs[way] = float(every.sum())
    return costs["plain"] / costs["engine"]


def conv_parts(bench: Bench) -> list[str]:
    """The parts that are about convolutions, in the order in which they were measured."""
    return [part for part in bench.table["part"].unique() if part.startswith("conv")]


def conv_ratios(bench: Bench, against: str = "plain") -> pd.DataFrame:
    """`ratios` of all convolutional networks, with the column network besides."""
    return pd.concat(
        [
            ratios(bench, part, against=against).assign(network=part.split(",")[0])
            for part in conv_parts(bench)
        ],
        ignore_index=True,
    )


def all_ratios(bench: Bench) -> dict[str, float]:
    """The median of each ratio to the plain loop, by part and round."""
    return {
        f"{part}, round {int(row.round)}": round(row.median, 3)
        for part in ("fc", *conv_parts(bench))
        for row in ratios(bench, part).itertuples()
    }


def programme_hours(bench: Bench, seeds: int = SEEDS, epochs: int = EPOCHS) -> float:
    """Hours for all arms of criteria, signs and zeros, projected from the slice measured."""
    part = bench.facts["slice"]
    seconds = seeds * (epochs * sum(part["epoch_seconds"]) + sum(part["other_seconds"]))
    return float(seconds) / 3600


def gpu_speeds(bench: Bench) -> pd.DataFrame:
    """Of a GPU's benchmark, a row for each case: network, way, number of replicas, microseconds
    per replica and iteration, and TFLOP/s."""
    found = times(bench, "gpu")
    return found[["network", "way", "replicas"]].assign(
        microseconds=1e3 * found["median"],
        teraflops=found["operations"] / found["median"] / 1e9,
    )


def describe(bench: Bench) -> list[str]:
    """What a terminal shows at the end: a few lines."""
    if (bench.table["part"] == "gpu").any():
        return [f"training steps on {bench.facts['device']}:"] + [
            f"  {row.network}, {row.way}, {row.replicas} replicas: {row.microseconds:.2f} us per "
            f"replica and iteration, {row.teraflops:.1f} TFLOP/s"
            for row in gpu_speeds(bench).itertuples()
        ]
    lines = [f"FC, milliseconds per replica and iteration ({bench.facts['device']}):"]
    medians = times(bench, "fc").set_index(["round", "way"])["median"]
    for row, fused in _beside_fused(bench, "fc"):
        ours, plain = medians[row.round, "engine"], medians[row.round, "plain"]
        lines.append(
            f"  density {row.density:5.3f}: engine {ours:.3f}, plain loop {plain:.3f}: "
            f"{row.median:.1f} times ({row.low:.1f} to {row.high:.1f})"
            + ("" if math.isnan(fused) else f", fused Adam's {fused:.1f}")
        )
    for part in conv_parts(bench):
        listed = ", ".join(
            f"{row.median:.2f}{'' if math.isnan(fused) else f' ({fused:.2f})'} at density "
            f"{row.density:.3f}"
            for row, fused in _beside_fused(bench, part)
        )
        lines.append(
            f"{part}, times faster (than fused Adam): {listed}; "
            f"over an arm {arm_ratio(bench, part):.1f}"
        )
    for row in times_of_arithmetic(bench).itertuples():
        lines.append(
            f"learned masks, FC: {row.median:.2f} times their arithmetic at its fastest "
            f"({row.low:.2f} to {row.high:.2f})"
        )
    lines.append(f"24 rounds of one arm of FC: {arm_ratio(bench):.1f} times")
    lines.append(
        f"criteria, signs and zeros, {SEEDS} seeds, {EPOCHS} epochs: {programme_hours(bench):.1f} h"
    )
    return lines


def _beside_fused(bench: Bench, part: str) -> Iterator[tuple[Any, float]]:
    """The rows of `ratios`, and for each the median ratio to the loop with fused Adam."""
    fused = ratios(bench, part, against="plain, fused").set_index("round")["median"]
    for row in ratios(bench, part).itertuples():
        yield row, float(fused.get(row.round, math.nan))

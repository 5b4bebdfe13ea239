"""What runs leave behind: a Parquet table and a JSON manifest; reading, writing and trusting them.

One row for each arm, seed and round, with what the paper reports of each (section 2). Nothing that
differs between two runs of one plan (times, host, date) stands in the table: that is the manifest's
part, which also holds the checksums of table and arrays, the full configuration, versions, commit,
device and kind of processor.
"""

import difflib
import hashlib
import json
import math
import platform
import re
import subprocess
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool
from torch import Tensor

from dltlib import catalogue, paths, processor
from dltlib.errors import UserError
from dltlib.files import replace_file
from dltlib.plans import Replica, plan_hash

# Accuracies and densities are shares between 0 and 1. A column that an experiment does not
# measure is left out of its table.
COLUMNS: dict[str, str] = {
    "arm": "what was done, e.g. large_final/rewind/zero",
    "seed": "decides initial weights and data order",
    "round": "pruning rounds so far (0: dense); for learned masks, epochs so far",
    "density": "share of all weights left (learned masks: expected share)",
    "layer_density": "the same for each layer, a list",
    "early_iteration": "iteration with the best validation accuracy, or that of the arm's rule",
    "validation_accuracy": "at that iteration (supermasks: of the masked network)",
    "test_accuracy": "at that iteration (supermasks: of the masked network)",
    "validation_loss": "mean cross-entropy on the validation images, at that iteration",
    "final_test_accuracy": "after the last iteration",
    "training_loss": "mean over the last epoch",
    "shrunk_share": "share of candidate weights that training had moved towards zero",
    "pruned_shrunk_share": "the same among the weights pruned to make this round's mask",
    "kept_flipped_share": "share of the weights kept then whose sign training had flipped",
    "turned_share": "share of the weights trained in that round whose sign the training turned",
    "stop_iteration": "in round 0: where the dense training stopped that the mask is read from",
    "probability_histogram": "share of weights whose mask probability falls in each 20th of [0, 1]",
}
KEY = ["arm", "seed", "round"]
FEWEST_SEEDS = 3
"""Fewer have no interval, and decide nothing."""


@dataclass(frozen=True)
class Record:
    """A table and the manifest that says where it comes from."""

    table: pd.DataFrame
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        """The file's, without its suffix."""
        plan = self.plan
        short = f"{plan['experiment']}-{plan['network']}-{plan['preset']}"
        return str(self.manifest.get("name", short))  # older records do not say

    @property
    def plan(self) -> dict[str, Any]:
        """The full configuration that was run."""
        plan: dict[str, Any] = self.manifest["plan"]
        return plan

    def first_seeds(self, count: int) -> "Record":
        """The same with no more than its first ``count`` seeds."""
        plan = self.plan | {"seeds": min(count, self.plan["seeds"])}
        table = self.table[self.table["seed"] < count].reset_index(drop=True)
        return Record(table, self.manifest | {"plan": plan})

    def subject(self) -> str:
        """Network and data: "Conv2 on CIFAR-10"."""
        plan = self.plan
        # One's own may not be registered where its record is read.
        network = catalogue.NETWORKS.get(plan["network"])
        data = catalogue.DATASETS.get(plan["dataset"])
        what = network.title if network else plan["network"]
        return f"{what} on {data.title if data else plan['dataset']}"

    def scale(self) -> str:
        """Network and data, and what of them is reduced: "Conv2 on CIFAR-10, width 0.125, ..."."""
        plan, words = self.plan, [self.subject()]
        if plan["width"] != 1:
            words.append(f"width {plan['width']:g}")
        if plan["train_images"] is not None:
            words.append(f"{plan['train_images']:,} training images")
        return ", ".join(words)

    def in_full(self) -> str:
        """`scale`, and how long and with how many seeds: for a menu of records."""
        epochs, seeds = self.plan["epochs"], self.plan["seeds"]
        return f"{self.scale()}, {epochs:,} epochs, {seeds} seed{'s' * (seeds > 1)}"

    def provenance(self) -> str:
        """One sentence for a caption: scale, device, versions, date, commit and command."""
        plan, manifest = self.plan, self.manifest
        return (
            f"{plan['experiment']} on {self.scale()}, preset "
            f"{plan['preset']}: {plan['seeds']} seeds, {plan['epochs']} epochs a training; "
            f"{manifest['device']}{self._processor()}"
            f"{', continued by what gives other numbers' * ('continued_from' in manifest)}, "
            f"torch {manifest['versions']['torch']}, "
            f"{manifest['finished'][:10]}, commit {_abbreviate(manifest['commit'])}. "
            f"Remake: `{manifest['command']}`."
        )

    def _processor(self) -> str:
        """In brackets, and how many networks were taken over from runs on another kind."""
        facts = self.manifest.get("processor")  # older records do not say
        if facts is None:
            return ""
        elsewhere = Counter(
            processor.in_words(part["processor"])
            for part in self.manifest.get("reused", ())
            for _, seed in part["replicas"]
            if part["processor"] != facts and seed < self.plan["seeds"]
        )
        count = len(self.replicas)
        told = [f"{number} of {count} networks: {words}" for words, number in elsewhere.items()]
        return f" ({'; '.join([processor.in_words(facts), *told])})"

    def made_on(self, replica: Replica) -> dict[str, Any]:
        """Where a replica was trained, be it for an earlier record: ``processor``
        (`processor.kind`; older records do not say) and ``device``."""
        parts = self.manifest.get("reused", ())
        facts = next((part for part in parts if list(replica) in part["replicas"]), self.manifest)
        return {name: facts[name] for name in ("processor", "device") if name in facts}

    @property
    def replicas(self) -> list[Replica]:
        """What was trained, seed by seed, in the plan's order."""
        return [
            Replica(arm, seed) for seed in range(self.plan["seeds"]) for arm in self.plan["arms"]
        ]

    def rows_of(self, replicas: Collection[Replica]) -> list[dict[str, Any]]:
        """Rows of these replicas, and those of the trained networks of their seeds, as runners
        write them: without the columns that only others of the record fill."""
        seeds = {replica.seed for replica in replicas}
        wanted = [
            (arm, seed) in replicas or (arm == "trained" and seed in seeds)
            for arm, seed in zip(self.table["arm"], self.table["seed"], strict=True)
        ]
        rows = self.table[wanted]
        rows = rows.loc[:, rows.notna().any() | self.table.isna().all()]
        return [
            {
                name: value.tolist() if isinstance(value, np.ndarray) else value
                for name, value in row.items()
            }
            for row in rows.to_dict("records")
        ]


def path(name: str) -> Path:
    """Where the table of that name lies among the book's records.

    >>> records.path("criteria-fc-cpu").name
    'criteria-fc-cpu.parquet'
    """
    return paths.records() / f"{name}.parquet"


def available(directory: Path | None = None) -> list[str]:
    """Names of the records in ``directory``, the book's if left out.

    >>> "criteria-fc-tiny" in records.available()
    True
    """
    return sorted(file.stem for file in (directory or paths.records()).glob("*.parquet"))


def largest(
    experiment: str,
    network: str,
    preset: str | None = None,
    directory: Path | None = None,
    digits: bool | None = None,
) -> str | None:
    """Name of the first of `ranked`, if there is one: the record that is read.

    >>> records.largest("criteria", "fc", digits=True)
    'criteria-fc-tiny'
    """
    return next(iter(ranked(experiment, network, preset, directory, digits)), None)


def ranked(
    experiment: str,
    network: str,
    preset: str | None = None,
    directory: Path | None = None,
    digits: bool | None = None,
) -> list[str]:
    """Names of the records of an experiment on a network, the largest first: at a preset, or on
    digits (or on the paper's data), where asked for.

    A record with too few seeds for an interval displaces none with enough, so that a long one can
    be made seed by seed. Then presets come in the order of `catalogue.PRESETS`; a preset's own
    record before one that overrides options of it, as a run does that has not got all its seeds
    yet; of several such, the one of the widest network, then with most training images, seeds and
    rows. Raises `UserError` for a damaged manifest.

    >>> records.ranked("criteria", "fc")[-1]
    'criteria-fc-tiny'
    """
    begin = re.escape(f"{experiment}-{network}-")
    pattern = rf"{begin}{preset or '[a-z]+'}(-[0-9a-f]{{12}})?"
    names = [name for name in available(directory) if re.fullmatch(pattern, name)]
    manifests = {name: _manifest(name, directory or paths.records()) for name in names}
    if digits is not None:
        dataset = {name: manifests[name]["plan"]["dataset"] for name in names}
        names = [name for name in names if (dataset[name] == "digits") == digits]
    return sorted(names, key=lambda name: precedence(name, manifests[name]))


def precedence(name: str, manifest: Mapping[str, Any]) -> tuple[float, ...]:
    """A key that sorts records of one experiment and network as `ranked` does.

    >>> own, other = (records.read(f"criteria-fc-{preset}") for preset in ("tiny", "cpu"))
    >>> records.precedence(other.name, other.manifest) < records.precedence(own.name, own.manifest)
    True
    """
    plan = manifest["plan"]
    own = name == f"{plan['experiment']}-{plan['network']}-{plan['preset']}"
    return (
        plan["seeds"] < FEWEST_SEEDS,
        list(catalogue.PRESETS).index(plan["preset"]),
        not own,
        -plan["width"],
        -(plan["train_images"] or math.inf),
        -plan["seeds"],
        -manifest["rows"],
    )


def others(experiment: str, record: Record) -> list[Record]:
    """Records of the experiment beside ``record``: on digits, and the largest of each convolutional
    network that has one.

    >>> [other.name for other in records.others("signs", records.read("signs-fc-cpu"))][0]
    'signs-fc-tiny'
    """
    convolutional = [name for name, network in catalogue.NETWORKS.items() if network.channels]
    found = [f"{experiment}-fc-tiny", *(largest(experiment, name) for name in convolutional)]
    return [read(name) for name in found if name not in (None, record.name)]


def read(name: str, directory: Path | str | None = None) -> Record:
    """The record ``EXPERIMENT-NETWORK-PRESET``.

    Raises `UserError` if it is missing, cut short, changed since it was written, or not a record.

    >>> records.read("criteria-fc-tiny").table["arm"].nunique()
    9
    """
    directory = Path(directory or paths.records())
    manifest, table_path = _manifest(name, directory), directory / f"{name}.parquet"
    if manifest["sha256"] != _checksum(table_path):
        raise UserError(
            f"{table_path} is not the table that its manifest describes (cut short, changed, or "
            f"from another run): {_REMEDY}"
        )
    try:
        table = pd.read_parquet(table_path)
    except Exception as error:  # pyarrow raises many types
        raise UserError(f"{table_path} is not a Parquet table: {_REMEDY}") from error
    missing = {*KEY, "density", "test_accuracy"} - set(table.columns)
    if missing:
        raise UserError(f"{table_path} lacks the columns {sorted(missing)}: {_REMEDY}")
    return Record(table, manifest)


_REMEDY = "restore it with git, or remake it with 'dltlib run --force'"


def _manifest(name: str, directory: Path) -> dict[str, Any]:
    """The manifest of the record of that name; raises `UserError` for a missing or damaged one."""
    table_path, manifest_path = directory / f"{name}.parquet", directory / f"{name}.json"
    if not table_path.exists() or not manifest_path.exists():
        close = difflib.get_close_matches(name, available(directory), n=4, cutoff=0)
        known = f"nearest: {', '.join(close)}" if close else "none are there"
        raise UserError(
            f"no record {name!r} in {directory} ({known}): 'dltlib run' makes records, "
            "'dltlib status' lists them"
        )
    try:
        manifest: dict[str, Any] = json.loads(manifest_path.read_text())
        _, plan = manifest["sha256"], manifest["plan"]
        names: Sequence[str] = _names(plan)  # older manifests do not say which
        names = (manifest["name"],) if "name" in manifest else names
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"the manifest {manifest_path} is damaged: {_REMEDY}") from error
    if name not in names:
        raise UserError(
            f"{manifest_path} is the manifest of {names[0]} under another name: give it its own "
            "name back"
        )
    return manifest


def _names(plan: Mapping[str, Any]) -> tuple[str, str]:
    """What a record of such a plan may be called: with its preset's values, or with its own."""
    short = f"{plan['experiment']}-{plan['network']}-{plan['preset']}"
    return short, f"{short}-{plan_hash(dict(plan) | {'arms': tuple(plan['arms'])})}"


def write(
    directory: Path,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    plan: Mapping[str, Any],
    arrays: Mapping[str, Tensor] | None = None,
    **facts: Any,
) -> Path:
    """Write table, arrays and manifest; ``facts`` (device, seconds, ...) join the manifest.

    The table is written last: a crash in between leaves no table yet, so that the run goes on, or
    an old one that `read` rejects for the manifest's checksum; never files that do not belong
    together.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     records.write(Path(folder), "mine", rows, plan.as_dict()).name
    'mine.parquet'
    """
    table = as_table(rows)
    content = table.to_parquet(index=False)
    manifest = {
        "name": name,
        "plan": dict(plan),
        "rows": len(table),
        "sha256": hashlib.sha256(content).hexdigest(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "versions": versions(),
        **facts,
    }
    if arrays:
        manifest["arrays_sha256"] = _checksum(_write_arrays(directory, name, arrays))
    text = json.dumps(manifest, indent=2) + "\n"
    replace_file(directory / f"{name}.json", lambda temporary: temporary.write_text(text))
    target = directory / f"{name}.parquet"
    replace_file(target, lambda temporary: temporary.write_bytes(content))
    return target


def check_columns(names: Iterable[str]) -> None:
    """Raise `UserError` for a column that nothing describes.

    >>> records.check_columns(["seed", "loss"])
    Traceback (most recent call last):
    dltlib.errors.UserError: a record has no column 'loss': say in records.COLUMNS what it holds
    """
    if unknown := sorted(set(names) - set(COLUMNS)):
        raise UserError(
            f"a record has no column {', '.join(map(repr, unknown))}: say in records.COLUMNS "
            f"what {'they hold' if len(unknown) > 1 else 'it holds'}"
        )


def as_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a record holds them: columns in the order of `COLUMNS`, sorted by `KEY`.

    >>> records.as_table(rows[:2])[["seed", "round", "density"]].to_dict("list")
    {'seed': [0, 0], 'round': [0, 1], 'density': [1.0, 0.5]}
    """
    table = pd.DataFrame(rows)
    check_columns(table.columns)
    table = table[[column for column in COLUMNS if column in table.columns]]
    return table.sort_values(KEY, kind="stable", ignore_index=True)


def _write_arrays(directory: Path, name: str, arrays: Mapping[str, Tensor]) -> Path:
    """Keep small arrays (weight samples, packed masks) beside the table, as ``NAME.npz``."""
    target = directory / f"{name}.npz"
    values: dict[str, Any] = {key: value.numpy() for key, value in sorted(arrays.items())}

    def save(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **values)

    replace_file(target, save)
    return target


def read_arrays(name: str, directory: Path | None = None) -> dict[str, np.ndarray]:
    """The arrays of the record ``name``.

    Raises `UserError` if they are missing, damaged, or of another run than the manifest.

    >>> records.read_arrays("criteria-fc-tiny")["weights/output"].shape  # w_i and w_f
    (2, 1000)
    """
    file = (directory or paths.records()) / f"{name}.npz"
    remedy = "restore it with git, or remake the record"
    if not file.exists():
        raise UserError(f"the record {name!r} has no arrays in {file.parent}")
    manifest = read(name, directory).manifest
    if manifest.get("arrays_sha256", (found := _checksum(file))) != found:
        raise UserError(f"{file} is not what its manifest describes: {remedy}")
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # a cut archive fails in many ways
        raise UserError(f"{file} is damaged: {remedy}") from error


def pack_mask(mask: Bool[Tensor, "*shape"]) -> Tensor:
    """A mask as bytes, eight weights each; its shape is not kept.

    >>> records.pack_mask(torch.tensor([True, False, False, False, False, False, False, True]))
    tensor([129], dtype=torch.uint8)
    """
    return torch.from_numpy(np.packbits(mask.cpu().numpy().reshape(-1)))


def unpack_mask(packed: np.ndarray, shape: Sequence[int]) -> Bool[Tensor, "*shape"]:
    """The mask that `pack_mask` packed.

    >>> packed = records.pack_mask(history.mask).numpy()
    >>> records.unpack_mask(packed, history.mask.shape)
    tensor([[[ True,  True,  True, False]]])
    """
    bits = np.unpackbits(packed, count=int(np.prod(shape))).astype(bool)
    return torch.from_numpy(bits.reshape(shape))


def versions() -> dict[str, str]:
    """Versions of what decides the numbers.

    >>> sorted(records.versions())
    ['numba', 'numpy', 'python', 'scikit-learn', 'torch', 'torchvision']
    """
    packages = ("torch", "numba", "numpy", "scikit-learn", "torchvision")
    return {"python": platform.python_version()} | {
        package: metadata.version(package) for package in packages
    }


def commit() -> str:
    """The commit of the library's checkout, with ``+`` if it has changed since; else "unknown".

    >>> isinstance(records.commit(), str)
    True
    """
    if not paths.IN_CHECKOUT:  # the user's own repository, if there is one, says nothing of it
        return "unknown"
    try:
        head, changed = (
            subprocess.run(
                ["git", "-C", str(paths.REPOSITORY), *arguments],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for arguments in (("rev-parse", "HEAD"), ("status", "--porcelain", "dltlib"))
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head + ("+" if changed else "")


def _abbreviate(commit: str) -> str:
    return commit[:10] + (" and changes since" if commit.endswith("+") else "")


def _checksum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()

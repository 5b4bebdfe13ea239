"""What runs leave behind: a Parquet table and a JSON manifest; reading, writing and trusting them.

One row for each arm, seed and round. Nothing that differs between two runs of one plan (times,
host, date) stands in the table: that is the manifest's part, which also holds the table's
checksum, the full configuration, versions, commit and device.
"""

import hashlib
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
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

from dltlib import paths
from dltlib.errors import UserError

# Accuracies and densities are shares between 0 and 1. A column that an experiment does not
# measure is left out of its table.
COLUMNS: dict[str, str] = {
    "arm": "what was done, e.g. large_final/rewind/zero",
    "seed": "decides initial weights and data order",
    "round": "pruning rounds so far (0: dense); for learned masks, epochs so far",
    "density": "share of all weights left (learned masks: expected share)",
    "layer_density": "the same for each layer, a list",
    "early_iteration": "iteration with the best validation accuracy",
    "validation_accuracy": "at that iteration (supermasks: of the masked network)",
    "test_accuracy": "at that iteration (supermasks: of the masked network)",
    "final_test_accuracy": "after the last iteration",
    "training_loss": "mean over the last epoch",
    "shrunk_share": "share of candidate weights that training had moved towards zero",
    "pruned_shrunk_share": "the same among the weights pruned to make this round's mask",
    "kept_flipped_share": "share of the weights kept then whose sign training had flipped",
    "probability_histogram": "share of weights whose mask probability falls in each 20th of [0, 1]",
}
KEY = ["arm", "seed", "round"]


@dataclass(frozen=True)
class Record:
    """A table and the manifest that says where it comes from."""

    table: pd.DataFrame
    manifest: dict[str, Any]

    @property
    def plan(self) -> dict[str, Any]:
        """The full configuration that was run."""
        return self.manifest["plan"]

    def scale(self) -> str:
        """Network and data, and what of them is reduced: "conv2/cifar10, width 0.125, ..."."""
        plan = self.plan
        words = [f"{plan['network']}/{plan['dataset']}"]
        if plan["width"] != 1:
            words.append(f"width {plan['width']:g}")
        if plan["train_images"] is not None:
            words.append(f"{plan['train_images']:,} training images")
        return ", ".join(words)

    def provenance(self) -> str:
        """One sentence for a caption: scale, device, versions, date, commit and command."""
        plan, manifest = self.plan, self.manifest
        return (
            f"{plan['experiment']} on {self.scale()}, preset "
            f"{plan['preset']}: {plan['seeds']} seeds, {plan['epochs']} epochs a training; "
            f"{manifest['device']}, torch {manifest['versions']['torch']}, "
            f"{manifest['finished'][:10]}, commit {_abbreviate(manifest['commit'])}. "
            f"Remake: `{manifest['command']}`."
        )


def path(name: str) -> Path:
    """Where the table of that name lies among the book's records."""
    return paths.records() / f"{name}.parquet"


def available() -> list[str]:
    """Names of the book's records."""
    return sorted(file.stem for file in paths.records().glob("*.parquet"))


def read(name: str, directory: Path | None = None) -> Record:
    """The record ``EXPERIMENT-NETWORK-PRESET``.

    Raises `UserError` if it is missing, cut short, changed since it was written, or not a record.
    """
    directory = directory or paths.records()
    table_path, manifest_path = directory / f"{name}.parquet", directory / f"{name}.json"
    if not table_path.exists() or not manifest_path.exists():
        known = ", ".join(available()) or "none"
        raise UserError(
            f"no record {name!r} in {directory} (there: {known}): 'dltlib run' makes records, "
            "'dltlib status' lists them"
        )
    remedy = "restore it with git, or remake it with 'dltlib run --force'"
    try:
        manifest = json.loads(manifest_path.read_text())
        checksum, schema = manifest["sha256"], manifest["plan"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"the manifest {manifest_path} is damaged: {remedy}") from error
    if checksum != _checksum(table_path):
        raise UserError(
            f"{table_path} is not the table that its manifest describes (cut short, changed, or "
            f"from another run): {remedy}"
        )
    try:
        table = pd.read_parquet(table_path)
    except Exception as error:  # pyarrow raises many types
        raise UserError(f"{table_path} is not a Parquet table: {remedy}") from error
    missing = {*KEY, "density", "test_accuracy"} - set(table.columns)
    if missing or not isinstance(schema, dict):
        raise UserError(f"{table_path} lacks the columns {sorted(missing)}: {remedy}")
    return Record(table, manifest)


def write(
    directory: Path,
    name: str,
    rows: Sequence[Mapping[str, Any]],
    plan: Mapping[str, Any],
    **facts: Any,
) -> Path:
    """Write table and manifest; ``facts`` (device, seconds, command, ...) join the manifest.

    The table is written last: a crash in between leaves no table yet, so that the run goes on, or
    an old one that `read` rejects for the manifest's checksum; never a pair that lies.
    """
    table = as_table(rows)
    content = table.to_parquet(index=False)
    manifest = {
        "plan": dict(plan),
        "rows": len(table),
        "sha256": hashlib.sha256(content).hexdigest(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "versions": versions(),
        **facts,
    }
    text = json.dumps(manifest, indent=2) + "\n"
    replace_file(directory / f"{name}.json", lambda temporary: temporary.write_text(text))
    target = directory / f"{name}.parquet"
    replace_file(target, lambda temporary: temporary.write_bytes(content))
    return target


def as_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows as a record holds them: columns in the order of `COLUMNS`, sorted by `KEY`."""
    table = pd.DataFrame(rows)
    unknown = set(table.columns) - set(COLUMNS)
    if unknown:
        raise KeyError(f"columns without a description in records.COLUMNS: {sorted(unknown)}")
    table = table[[column for column in COLUMNS if column in table.columns]]
    return table.sort_values(KEY, kind="stable", ignore_index=True)


def write_arrays(directory: Path, name: str, arrays: Mapping[str, Tensor]) -> Path:
    """Keep small arrays (weight samples, packed masks) beside the table, as ``NAME.npz``."""
    target = directory / f"{name}.npz"
    values = {key: value.numpy() for key, value in sorted(arrays.items())}

    def save(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **values)

    replace_file(target, save)
    return target


def read_arrays(name: str, directory: Path | None = None) -> dict[str, np.ndarray]:
    """The arrays beside the record ``name``; `UserError` if they are missing or damaged."""
    file = (directory or paths.records()) / f"{name}.npz"
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except FileNotFoundError as error:
        raise UserError(f"the record {name!r} has no arrays in {file.parent}") from error
    except Exception as error:  # a cut archive fails in many ways
        raise UserError(f"{file} is damaged: restore it with git, or remake the record") from error


def pack_mask(mask: Bool[Tensor, "*shape"]) -> Tensor:
    """A mask as bytes, eight weights each; its shape is not kept."""
    return torch.from_numpy(np.packbits(mask.cpu().numpy().reshape(-1)))


def unpack_mask(packed: np.ndarray, shape: Sequence[int]) -> Bool[Tensor, "*shape"]:
    """The mask that `pack_mask` packed."""
    bits = np.unpackbits(packed, count=int(np.prod(shape))).astype(bool)
    return torch.from_numpy(bits.reshape(shape))


def check_writable(directory: Path) -> None:
    """Raise `UserError` now rather than after hours if files cannot be made in ``directory``."""
    probe = directory / "probe"
    replace_file(probe, lambda temporary: None)
    probe.unlink(missing_ok=True)


def replace_file(target: Path, write_to: Callable[[Path], object]) -> None:
    """Write a file so that, whatever happens, either the old or the new one is there, whole.

    Raises `UserError` if the directory cannot be written.
    """
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        os.close(handle)
        temporary = Path(name)
        write_to(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        # mkstemp makes files private; a record is as public as its directory.
        temporary.chmod(0o644)
        temporary.replace(target)
    except OSError as error:
        raise UserError(
            f"cannot write {target} ({error.strerror or error}): choose a directory that can be "
            "written (DLTLIB_RUNS, DLTLIB_RECORDS), with space left"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    packages = ("torch", "numba", "numpy", "scikit-learn", "torchvision")
    return {"python": platform.python_version()} | {
        package: metadata.version(package) for package in packages
    }


def commit() -> str:
    """The commit of the checkout, with ``+`` if the library has changed since; else "unknown"."""
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
    return commit[:10] + ("+" if commit.endswith("+") else "")


def _checksum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()

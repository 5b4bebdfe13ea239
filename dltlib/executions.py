"""How the chapters were executed: noted by `dltlib book`, shown by
the page on the site's making (the directive ``executions`` of `book`).

A notebook says nothing of this, so that the same chapter executed again is the same bytes.
``book/executions.json`` does: for each chapter the seconds, the day, the processor, the versions
and the records that it was given, and hashes of all that went in (`book.fingerprint`), by which an
entry is told from one of an older notebook. Those who commit a notebook commit it too.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock

from dltlib import files
from dltlib.errors import UserError


def path(root: Path) -> Path:
    """Where a book's executions are noted."""
    return root / "book" / "executions.json"


def note(
    root: Path, name: str, seconds: float, records: Sequence[str], inputs: Mapping[str, str]
) -> None:
    """Note that chapter `name` has been executed now, here.

    `records` are the patterns by which it names those that it reads.
    """
    import torch

    from dltlib import processor
    from dltlib.records import versions

    entry = {
        "seconds": round(seconds, 1),
        "finished": datetime.now(UTC).date().isoformat(),
        "device": processor.describe(torch.device("cpu")),
        "versions": versions(),
        "records": list(records),
        "inputs": dict(inputs),
    }
    with alone(root, "executions"):
        known = dict(sorted((read(root) | {name: entry}).items()))
        text = json.dumps(known, indent=1) + "\n"
        files.replace_file(
            path(root), lambda temporary: temporary.write_text(text, encoding="utf-8")
        )


@contextlib.contextmanager
def alone(root: Path, what: str) -> Iterator[None]:
    """Let no other process write ``what`` of the book meanwhile; if one does, say so and wait."""
    folder = root / "_build"
    folder.mkdir(exist_ok=True)
    lock = filelock.FileLock(folder / f"{what}.lock")
    try:
        lock.acquire(timeout=1)
    except filelock.Timeout:
        print(f"another process is at work on the {what}: waiting for it ...", flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def noted(root: Path, name: str, inputs: Mapping[str, str]) -> dict[str, Any] | None:
    """What was noted of the execution of chapter `name` that had these inputs, if anything was."""
    entry: dict[str, Any] | None = read(root).get(name)
    return entry if entry and entry["inputs"] == dict(inputs) else None


def read(root: Path) -> dict[str, Any]:
    """All that was noted, by chapter. Raises `UserError` if the file is damaged."""
    known: dict[str, Any] = {}
    if path(root).exists():
        try:
            known = json.loads(path(root).read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path(root)} is damaged ({error}): restore it with git") from error
    return known


def table(root: Path, chapters: Mapping[str, Mapping[str, str]]) -> str:
    """The executions of chapters as MyST: a table, and under it what was the same for many.

    ``chapters`` are their names, each with what it was executed with (`noted`).
    """
    lines = ["| chapter | took | when | records |", "|---|---:|---|---|"]
    alike: dict[str, list[str]] = {}
    for name, inputs in chapters.items():
        link = f"{{doc}}`/book/{name}`"
        entry = noted(root, name, inputs)
        if entry is None:
            lines.append(f"| {link} | not noted | | |")
            continue
        read = ", ".join(f"`{pattern}`" for pattern in entry["records"]) or "none"
        lines.append(f"| {link} | {entry['seconds']:.0f} s | {entry['finished']} | {read} |")
        used = ", ".join(f"{tool} {version}" for tool, version in entry["versions"].items())
        alike.setdefault(f"{entry['device']}; {used}", []).append(link)
    for where, links in alike.items():
        whose = "All of them" if len(alike) == 1 else ", ".join(links)
        lines += ["", f"{whose}: {where}."]
    return "\n".join(lines)

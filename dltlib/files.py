"""Files that are there whole or not at all, whenever a process is killed."""

import contextlib
import os
import re
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

from dltlib.errors import UserError

# A temporary file names the machine, process and thread that write it, so that whoever comes later
# can tell a file that is being written from one that a killed process left behind.
_TEMPORARY = re.compile(
    r"\.(?P<target>.+)\.(?P<machine>[0-9a-f]+)-(?P<process>\d+)(-(?P<thread>\d+))?\.part"
)


def replace_file(target: Path, write_to: Callable[[Path], object]) -> None:
    """Write a file so that, whatever happens, either the old or the new one is there, whole.

    ``write_to`` is given a temporary path beside ``target``. Raises `UserError` if the directory
    cannot be written.
    """
    writer = f"{uuid.getnode():x}-{os.getpid()}-{threading.get_ident()}"
    temporary = target.parent / f".{target.name}.{writer}.part"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        write_to(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # a record is as public as its directory
        temporary.replace(target)
    except OSError as error:
        raise UserError(
            f"cannot write {target} ({error.strerror or error}): choose a directory that can be "
            "written (DLTLIB_RUNS, DLTLIB_RECORDS), with space left"
        ) from error
    finally:
        with contextlib.suppress(OSError):  # its directory could not be made
            temporary.unlink(missing_ok=True)


def check_writable(directory: Path) -> None:
    """Raise `UserError` now rather than after hours if files cannot be made in ``directory``.

    What killed processes left in it goes. Where it does not exist, the next directory above it is
    tried: what is refused later on leaves nothing, and nobody sees it come and go.
    """
    there = next(place for place in (directory, *directory.absolute().parents) if place.exists())
    probe = there / f".probe-{uuid.uuid4().hex}"
    replace_file(probe, lambda temporary: None)
    probe.unlink(missing_ok=True)
    for file in directory.glob(".*.part"):
        found = _TEMPORARY.fullmatch(file.name)
        if found and int(found["machine"], 16) == uuid.getnode() and not _runs(found["process"]):
            file.unlink(missing_ok=True)


def _runs(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True

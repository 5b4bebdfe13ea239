"""The only module that knows where things lie.

Every place can be moved by an environment variable, so that tests and shared machines need not
write into a checkout.
"""

import os
from pathlib import Path

_AROUND = Path(__file__).resolve().parent.parent
IN_CHECKOUT = (_AROUND / "pyproject.toml").exists()
# Installed without its repository, the library keeps runs and records where the user is.
REPOSITORY = _AROUND if IN_CHECKOUT else Path.cwd()


def _place(variable: str, default: Path) -> Path:
    value = os.environ.get(variable)
    return Path(value).expanduser() if value else default


def data() -> Path:
    """Data sets that torchvision reads and downloads (``DLTLIB_DATA``, else ``data/``)."""
    return _place("DLTLIB_DATA", REPOSITORY / "data")


def runs() -> Path:
    """Checkpoints of unfinished and finished runs (``DLTLIB_RUNS``, else ``runs/``)."""
    return _place("DLTLIB_RUNS", REPOSITORY / "runs")


def records() -> Path:
    """Committed results, read by the chapters (``DLTLIB_RECORDS``, else ``book/records/``)."""
    return _place("DLTLIB_RECORDS", book() / "records")


def book() -> Path:
    """The chapters: jupytext sources and executed notebooks."""
    return REPOSITORY / "book"


def site() -> Path:
    """The built site."""
    return REPOSITORY / "_build" / "html"

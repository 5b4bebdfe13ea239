"""Data for the pages that can be played with: scripts beside the site, made from records.

A page opened as a file may neither fetch nor import, so its data are classic scripts, which say
``dlt.put(name, value)`` to ``book/_static/interactive/common.js``. They are written into the built
site and never committed; what reads them lies in ``book/_static/interactive``.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from dltlib.interactive import explorer, plane, playground
from dltlib.interactive.scripts import write_script

# By the page that needs them: its data, as (name, value), from the records in a directory.
PAGES: dict[str, Callable[[Path], Iterable[tuple[str, object]]]] = {
    "explorer": explorer.scripts,
    "plane": plane.scripts,
    "playground": playground.scripts,
}


def write(pages: Iterable[str], records: Path, site: Path) -> list[Path]:
    """Write the data of these pages (others are ignored) into ``site``; returns the files."""
    folder = site / "_static" / "interactive" / "data"
    return [
        write_script(folder, name, value)
        for page in pages
        if page in PAGES
        for name, value in PAGES[page](records)
    ]

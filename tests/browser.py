"""A headless Chromium that talks to nobody but the pages it is given."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
# Chromium's own errands (updates, safe browsing, field trials) are off: what a test counts as a
# request is the page's. The sandbox needs privileges that a container lacks, and pages are ours.
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-features=OptimizationHints,MediaRouter",
]


def executable() -> str | None:
    """Path of the installed browser: $DLTLIB_BROWSER, or the first known name on the path."""
    named = os.environ.get("DLTLIB_BROWSER")
    return named or next(filter(None, map(shutil.which, _NAMES)), None)


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Start the browser; the playwright object it gives has `new_context` and `new_page`."""
    from playwright.sync_api import sync_playwright

    path = executable()
    if path is None:
        raise FileNotFoundError(
            "no Chromium on this machine: install one, or name it in DLTLIB_BROWSER"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield browser
        browser.close()

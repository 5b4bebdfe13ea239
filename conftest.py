"""``pytest --nbval`` compares outputs; this asks first whether they are outputs of what is there.

nbval sees neither pictures, nor a change that no output shows, nor that the text has moved on. So
each chapter's notebook gets one more test: that it was made from this text, these records and this
library (`dltlib.book.problems`).
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dltlib import book, paths


class _Chapter(pytest.File):
    def collect(self) -> Iterator[pytest.Item]:
        yield _UpToDate.from_parent(self, name="up to date")


class _UpToDate(pytest.Item):
    def runtest(self) -> None:
        if found := book.problems(self.path.stem):
            pytest.fail("\n".join(found), pytrace=False)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, f"{self.path.stem} is up to date"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> _Chapter | None:
    """Add the test to the chapters, where nbval is asked for."""
    if not parent.config.getoption("nbval", False) or file_path.suffix != ".ipynb":
        return None
    if file_path.parent != paths.book() or file_path.stem not in book.chapters():
        return None
    return _Chapter.from_parent(parent, path=file_path)

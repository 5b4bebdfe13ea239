"""The book away from home: its public address, and what a machine without the library needs.

The address of the repository stands in one place, ``Repository`` below ``[project.urls]`` in
pyproject.toml, where ``make address URL=...`` puts it; as long as it does not, there is none, and
nothing below appears. With an address the pages have launch buttons for Binder and Colab (this
module is the Sphinx extension that adds them), and each notebook begins with `first_cell`, which
fetches the library on Colab and does nothing where it is installed.

Importing this needs the standard library alone: on Colab it runs before anything is installed.
"""

import importlib
import importlib.metadata
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from dltlib import paths
from dltlib.errors import UserError

FETCHING = "fetch-library"
"""The tag of `first_cell`, which is part of no chapter's own code."""
BRANCH = "main"

_FIRST_CELL = """\
# Where the library is missing, as on Colab, fetch it. Anywhere else this cell does nothing.
import importlib.util

if importlib.util.find_spec("dltlib") is None:
    import os
    import subprocess
    import sys

    clone = os.path.abspath("dltlib-book")
    if not os.path.exists(clone):  # it is there where a kernel was started anew
        subprocess.run(["git", "clone", "--quiet", "--depth=1", "{address}", clone], check=True)
    sys.path.insert(0, clone)
    from dltlib import elsewhere

    elsewhere.install_missing()"""


def repository(root: Path | None = None) -> str | None:
    """The address of the public repository, or None as long as pyproject.toml names none.

    Raises `UserError` for one that is not ``https://github.com/NAME/REPOSITORY``: Binder and Colab
    are reached by these two names.
    """
    path = (root or paths.REPOSITORY) / "pyproject.toml"
    if not path.exists():  # the library is installed, not checked out
        return None
    urls = tomllib.loads(path.read_text(encoding="utf-8"))["project"].get("urls", {})
    address: str | None = urls.get("Repository")
    if address is not None and not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", address):
        raise UserError(f"{address}: write https://github.com/NAME/REPOSITORY")
    return address


def first_cell(address: str) -> str:
    """Code that begins a notebook: clone `address` if there is no library, and `install_missing`.

    The clone brings the records along, and `dltlib run` and its tests work in it as anywhere.
    """
    return _FIRST_CELL.format(address=address)


def missing(requirements: list[str]) -> list[str]:
    """Those of `requirements` (as in pyproject.toml) of which no version at all is installed.

    An installed version stays, even outside the range: the PyTorch of Colab fits its GPUs, and
    another one would not be loaded into a running kernel anyhow.
    """
    installed = {_canonical(found.name) for found in importlib.metadata.distributions()}
    return [text for text in requirements if _canonical(_name(text)) not in installed]


def install_missing() -> list[str]:
    """Install what the library needs and this environment lacks; return what that was.

    What is there keeps its version: pip is given it as a constraint, and fails rather than
    change it.
    """
    project = tomllib.loads((paths.REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = missing(project["project"]["dependencies"])
    if wanted:
        with tempfile.TemporaryDirectory() as folder:
            constraints = Path(folder) / "constraints.txt"
            constraints.write_text("\n".join(_versions()), encoding="utf-8")
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint"]
            subprocess.run([*pip, str(constraints), *wanted], check=True)
        importlib.invalidate_caches()  # the kernel runs on, and imports them next
    return wanted


def _versions() -> list[str]:
    """What is installed, as pip wants it; builds of one's own (2.9.0+cu128) are on no index."""
    found = {(each.name, each.version) for each in importlib.metadata.distributions()}
    return sorted(f"{name}=={version}" for name, version in found if "+" not in version)


def _name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# --- Sphinx ------------------------------------------------------------------------------------


def setup(app: Any) -> dict[str, bool]:
    """Let Sphinx use this module as an extension of the book."""
    app.connect("config-inited", _set_buttons)
    return {"parallel_read_safe": True}


def _set_buttons(app: Any, config: Any) -> None:
    """Give the theme the address, or take the launch buttons away: it cannot do without one."""
    address = repository(Path(app.srcdir))
    options = config.html_theme_options
    if address is None:
        options.pop("launch_buttons", None)
    else:
        options |= {
            "repository_url": address,
            "repository_branch": BRANCH,
            "use_repository_button": True,
        }

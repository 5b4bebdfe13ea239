"""The map of the house in CONTRIBUTING.md is the house: every module is in it, no import climbs."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dltlib import paths

PACKAGE = paths.REPOSITORY / "dltlib"


def floors() -> dict[str, int]:
    """Each module or package of the library, and the line of the table that it stands in."""
    text = (paths.REPOSITORY / "CONTRIBUTING.md").read_text()
    table = text.split("## The house", 1)[1].split("## ", 1)[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {name: floor for floor, row in enumerate(rows) for name in re.findall("`(.+?)`", row)}


def modules() -> dict[str, list[Path]]:
    """The files of each module or package at the library's top level."""
    found: dict[str, list[Path]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        found.setdefault(name, []).append(path)
    del found["__init__"]
    return found


def imported(path: Path) -> Iterator[str]:
    """What a file imports of the library while it is being imported, or inside its functions;
    not what type checkers alone see."""
    tree = ast.parse(path.read_text())
    unseen = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "dltlib":
            names = [f"dltlib.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("dltlib."))


def test_every_module_is_in_the_map_and_nothing_else_is() -> None:
    assert set(floors()) == set(modules())


@pytest.mark.parametrize("name", sorted(modules()))
def test_no_import_climbs(name: str) -> None:
    known = floors()
    for path in modules()[name]:
        for other in imported(path):
            if other in known:  # else a name of dltlib/__init__.py
                assert known[other] <= known[name], f"{path.name} imports {other} from below it"


def test_the_catalogue_and_plans_need_no_torch() -> None:
    for name in ("catalogue", "settings", "plans", "registry", "files", "errors", "paths"):
        for path in modules()[name]:
            text = path.read_text()
            assert not re.search(r"^\s*(import|from) torch", text, re.MULTILINE)
            assert set(imported(path)) <= {
                "catalogue", "settings", "plans", "registry", "files", "errors", "paths",
            }  # fmt: skip


def test_no_two_modules_import_one_another() -> None:
    """Directly or by way of others: each can be understood before those that use it."""
    uses = {
        name: {other for path in files for other in imported(path)} - {name}
        for name, files in modules().items()
    }
    while standing := {name for name, others in uses.items() if others & set(uses)}:
        if len(standing) == len(uses):
            raise AssertionError(f"a circle among {', '.join(sorted(standing))}")
        uses = {name: uses[name] for name in standing}

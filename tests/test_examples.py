"""The examples in docstrings run, and each public function of the main modules has one."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dltlib
from dltlib import paths

DOCUMENTED = (
    "criteria", "actions", "pruning", "networks", "training", "supermasks", "plans", "records",
    "claims",
)  # fmt: skip


def _page() -> str:
    return (paths.book() / "api.md").read_text()


def _modules() -> Iterator[str]:
    for module in pkgutil.walk_packages(dltlib.__path__, "dltlib."):
        if not module.name.startswith("dltlib.kernel"):  # numba's functions are another matter
            yield module.name


def _functions(module: str) -> Iterator[tuple[str, Any]]:
    """Public functions and classes that a module, or a package by its own module, offers."""
    for name, value in vars(importlib.import_module(module)).items():
        own = getattr(value, "__module__", None) or ""
        if name.startswith("_") or not (own == module or own.startswith(f"{module}.")):
            continue
        if inspect.isclass(value) or (inspect.isfunction(value) and value.__name__ == name):
            yield name, value


def _examples() -> dict[str, Any]:
    found = {}
    for module in _modules():
        for name, value in _functions(module):
            if ">>>" in (value.__doc__ or ""):
                found[f"{value.__module__}.{name}"] = value
    return found


EXAMPLES = _examples()


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the page of the library says that its examples begin with."""
    begin, *_ = re.findall(r"(?s)```python\n(.+?)```", _page())
    content: dict[str, Any] = {}
    exec(begin, content)
    return content


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_example_gives_what_it_says(
    name: str, names: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLTLIB_RECORDS", str(paths.REPOSITORY / "book" / "records"))
    value = EXAMPLES[name]
    module = importlib.import_module(value.__module__)
    own = names if value.__module__.split(".")[1] in DOCUMENTED else vars(module)
    test = doctest.DocTestParser().get_doctest(value.__doc__, dict(own), name, None, 0)
    report: list[str] = []
    failed, tried = doctest.DocTestRunner().run(test, out=report.append)
    assert tried
    assert not failed, "".join(report)


@pytest.mark.parametrize("module", DOCUMENTED)
def test_every_public_function_has_an_example_and_the_papers_section(module: str) -> None:
    functions = [
        (name, value) for name, value in _functions(f"dltlib.{module}") if inspect.isfunction(value)
    ]
    assert functions
    missing = [name for name, value in functions if ">>>" not in (value.__doc__ or "")]
    assert missing == []
    of_module = importlib.import_module(f"dltlib.{module}").__doc__ or ""
    unplaced = [
        name
        for name, value in functions
        if not re.search(r"\b[Ss]ections? \d", f"{of_module} {value.__doc__}")
    ]
    assert unplaced == []
    assert f".. automodule:: dltlib.{module}\n" in _page()


@pytest.mark.parametrize("module", DOCUMENTED)
def test_the_page_can_be_made_of_the_docstrings(module: str) -> None:
    """In a second, where the build of the site, which refuses warnings too, takes minutes."""
    from docutils.core import publish_doctree

    content = [("", importlib.import_module(f"dltlib.{module}")), *_functions(f"dltlib.{module}")]
    for name, value in content:
        text = inspect.cleandoc(value.__doc__ or "")
        publish_doctree(
            f".. default-role:: code\n\n{text}",
            source_path=f"{module}.{name}",
            settings_overrides={"halt_level": 2, "report_level": 2},
        )


@pytest.mark.parametrize("page", [*paths.book().glob("*.md"), paths.REPOSITORY / "README.md"])
def test_what_pages_import_and_call_is_there(page: Path) -> None:
    for block in re.findall(r"(?ms)^ *```python\n(.+?)^ *```", page.read_text()):
        try:
            nodes = list(ast.walk(ast.parse(textwrap.dedent(block))))
        except SyntaxError:
            continue  # a line of something longer
        imported = {
            name.name: importlib.import_module(f"dltlib.{name.name}")
            for node in nodes
            if isinstance(node, ast.ImportFrom) and node.module == "dltlib"
            for name in node.names
        }
        for node in nodes:
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                module = imported.get(node.value.id)
                assert module is None or hasattr(module, node.attr), ast.unparse(node)

"""One environment in four places: pyproject.toml, requirements.lock, environment.yml, the code."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from dltlib import paths

ROOT = paths.REPOSITORY
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# PyTorch pins these itself, exactly, where it uses them: see requirements.lock.
LEFT_TO_TORCH = ("nvidia-", "cuda-", "triton")


def _declared() -> dict[str, Requirement]:
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    requirements = [Requirement(text) for group in groups for text in group]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def _pins() -> dict[str, str]:
    pins = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            requirement = Requirement(line)
            (pin,) = requirement.specifier
            assert pin.operator == "==", line
            assert "+" not in pin.version, f"{line}: a build that not every index has"
            pins[canonicalize_name(requirement.name)] = pin.version
    return pins


def test_every_dependency_is_pinned_within_its_range() -> None:
    pins = _pins()
    for name, requirement in _declared().items():
        assert name in pins, f"{name} is in pyproject.toml and not in requirements.lock"
        assert requirement.specifier.contains(pins[name], prereleases=True), requirement


def test_pins_live_in_the_lock_alone() -> None:
    for name, requirement in _declared().items():
        operators = {specifier.operator for specifier in requirement.specifier}
        assert not operators & {"==", "==="}, f"{name} is pinned in pyproject.toml"
    others = ("environment.yml", "Makefile", ".ci/run", "README.md", ".pre-commit-config.yaml")
    folders = (".github", ".devcontainer", "binder")
    for place in [*others, *(path for folder in folders for path in (ROOT / folder).rglob("*.*"))]:
        text = (ROOT / place).read_text()
        assert not re.search(r"[A-Za-z]==\d", text), f"{place} holds a pin"


def _needed() -> set[str]:
    """The dependencies and, in this environment, all that they pull in, however far."""
    environment = dict(default_environment())
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(name, frozenset(requirement.extras)) for name, requirement in _declared().items()]
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen or name.startswith(LEFT_TO_TORCH):
            continue
        seen.add((name, extras))
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or any(
                marker.evaluate({**environment, "extra": extra}) for extra in ["", *extras]
            ):
                waiting.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return {name for name, _ in seen}


def test_the_lock_pins_what_is_needed() -> None:
    needed, pins = _needed(), set(_pins())
    assert needed - pins == set()
    if sys.version_info[:2] == (3, 11):  # made there; newer versions need fewer packages
        # setuptools installs the project itself, which `make install` does without the network.
        assert pins - needed - {"setuptools"} == set()


def test_this_environment_is_the_pinned_one() -> None:
    installed = {name: importlib.metadata.version(name) for name in _declared()}
    pins = _pins()
    different = {
        name: version
        for name, version in installed.items()
        if version.partition("+")[0] != pins[name]
    }
    if different:  # a conda or development environment may be newer; the lock is what CI uses
        pytest.skip(f"not the versions of requirements.lock: {different}")


def test_conda_gets_the_same_environment() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    by_conda = [item for item in environment["dependencies"] if isinstance(item, str)]
    (by_pip,) = [item["pip"] for item in environment["dependencies"] if isinstance(item, dict)]
    assert by_pip == ["-r requirements.lock", "-e ."]
    assert {re.split(r"[=<>]", item)[0] for item in by_conda} == {"python", "pip"}
    (version,) = [item.removeprefix("python=") for item in by_conda if item.startswith("python=")]
    supported = SpecifierSet(PROJECT["requires-python"])
    assert supported.contains(version)
    assert supported.contains(".".join(map(str, sys.version_info[:3])))
    assert environment["name"] == PROJECT["name"]
    assert f"ifeq ($(CONDA_DEFAULT_ENV),{PROJECT['name']})" in (ROOT / "Makefile").read_text()


def _imported(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((alias.name.partition(".")[0], path) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield str(node.module).partition(".")[0], path


@pytest.mark.parametrize("folder", ["dltlib", "tests", "book", "tools"])
def test_everything_imported_is_declared(folder: str) -> None:
    ours = [path for place in ("tests", "tools") for path in (ROOT / place).glob("*.py")]
    own = {"dltlib", *(path.stem for path in ours)}
    distributions = importlib.metadata.packages_distributions()
    declared = set(_declared())
    for module, path in _imported(ROOT / folder):
        if module in own or module in sys.stdlib_module_names:
            continue
        names = {canonicalize_name(name) for name in distributions.get(module, [module])}
        # docutils comes with Sphinx, which no one would install without it.
        assert names & declared or module == "docutils", f"{path.name} imports {module}"


def test_the_readme_and_the_makefile_agree() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.M))
    readme = (ROOT / "README.md").read_text()
    used = set(re.findall(r"`make ([a-z]+)`", readme)) | set(
        re.findall(r"^make ([a-z]+)", readme, flags=re.M)
    )
    assert {"book", "test", "lab", "help"} <= used <= targets
    documented = set(re.findall(r"^([a-z]+):.*## ", makefile, flags=re.M))
    assert documented == targets


def test_versions_and_licence_agree() -> None:
    from dltlib import __version__

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == __version__ == importlib.metadata.version("dltlib")
    assert citation["license"] == PROJECT["license"] == "MIT"
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    assert (ROOT / "book" / "_static" / "mathjax" / "LICENSE").exists()


def test_divided_tests_stay_in_groups(request: pytest.FixtureRequest) -> None:
    """pytest-xdist has read this module's group, not only been given it."""
    if not request.config.getoption("loadgroup", default=False):
        pytest.skip("the tests are not divided by --dist loadgroup")
    assert request.node.nodeid.endswith("@test_environment")

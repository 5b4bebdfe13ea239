"""What runs or is read elsewhere: workflows, Binder, dev container, hooks, forms, citation.

None of it can be tried here as a whole. What can be: that it parses, that what it calls exists, and
that its parts agree.
"""

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import setuptools
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from dltlib import __version__, book, paths
from dltlib.errors import UserError

ROOT = paths.REPOSITORY
sys.path.insert(0, str(ROOT / "tools"))

import release  # noqa: E402
import try_binder  # noqa: E402

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# The major versions of 2026; a new one is tried before it is written here.
ACTIONS = {
    "actions/checkout": "v6",
    "actions/setup-python": "v6",
    "actions/configure-pages": "v6",
    "actions/upload-pages-artifact": "v5",
    "actions/deploy-pages": "v5",
}


def _targets() -> set[str]:
    return set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text()))


def _unknown_targets(text: str) -> set[str]:
    """Targets that `make` is called with in `text` and that the Makefile has not."""
    return set(re.findall(r"(?m)(?:^|`|&& )make ([a-z]+)\b", text)) - _targets()


# --- workflows ----------------------------------------------------------------------------------


def workflow_faults(workflow: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a workflow, as far as that can be seen without running it."""
    if workflow.get("permissions") != {"contents": "read"}:
        yield "its jobs may do more than read, unless they say so"
    for name, job in workflow["jobs"].items():
        if "uses" in job:
            if not (ROOT / job["uses"]).exists():
                yield f"{name}: no workflow {job['uses']}"
            continue
        if "timeout-minutes" not in job:
            yield f"{name}: runs for six hours where it hangs"
        if set(job.get("needs", "").split()) - set(workflow["jobs"]):
            yield f"{name}: waits for a job that is not there"
        for step in job["steps"]:
            action, _, version = step.get("uses", "").partition("@")
            if action and ACTIONS.get(action) != version:
                yield f"{name}: {step['uses']}, not {ACTIONS.get(action, 'known')}"
            for key, value in step.get("with", {}).items():
                if key == "cache-dependency-path" and not (ROOT / value).exists():
                    yield f"{name}: no file {value}"
            if command := step.get("run"):
                if not re.match(r"(make|gh) ", command):
                    yield f"{name}: {command!r} is none of our targets, and so is tested nowhere"
                yield from (f"{name}: no target {each}" for each in _unknown_targets(command))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_what_exists_and_may_do_little(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text())
    assert list(workflow_faults(workflow)) == []
    assert workflow["name"] == path.stem


def test_the_checker_notices_what_it_looks_for() -> None:
    steps = [
        {"uses": "actions/checkout@main"},
        {"uses": "somebody/something@v1"},
        {"uses": "actions/setup-python@v6", "with": {"cache-dependency-path": "no.lock"}},
        {"run": "make nothing"},
        {"run": "pip install jupyter-book"},
    ]
    jobs = {"a": {"needs": "b", "steps": steps}, "c": {"uses": "./nowhere.yml"}}
    found = "\n".join(workflow_faults({"permissions": "write-all", "jobs": jobs}))
    for complaint in (
        "more than read",
        "six hours",
        "job that is not there",
        "checkout@main, not v6",
        "something@v1, not known",
        "no file no.lock",
        "no target nothing",
        "'pip install jupyter-book' is none",
        "no workflow ./nowhere.yml",
    ):
        assert complaint in found


def _workflow(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())


def test_each_supported_python_runs_every_check() -> None:
    jobs = _workflow("test")["jobs"]
    versions = jobs["test"]["strategy"]["matrix"]["python-version"]
    supported = SpecifierSet(PROJECT["requires-python"])
    assert versions == ["3.11", "3.12", "3.13"]
    assert all(supported.contains(version) for version in versions)
    ran = {
        step.get("run", "").removeprefix("make ") for job in jobs.values() for step in job["steps"]
    }
    (parts,) = re.findall(r"(?m)^test: ([a-z ]+?) ##", (ROOT / "Makefile").read_text())
    assert set(parts.split()) <= ran  # all that `make test` does


def test_pages_publish_the_strictly_built_site() -> None:
    build, deploy = (_workflow("pages")["jobs"][name] for name in ("build", "deploy"))
    (upload,) = [step for step in build["steps"] if "upload-pages" in step.get("uses", "")]
    assert ROOT / upload["with"]["path"] == paths.site()
    assert [step["run"] for step in build["steps"] if "run" in step] == [
        "make stale",
        "make book",
        "make pdf",
    ]
    assert {"-n", "-W"} <= set(book.site._BUILD_FLAGS)
    assert deploy["needs"] == "build"
    assert deploy["permissions"] == {"pages": "write", "id-token": "write"}


def test_a_build_that_makes_no_pages_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by Jupyter Book 2, which ends well and has built none."""
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "intro.md").write_text("# Intro\n")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/intro\n")
    monkeypatch.setattr(book.site, "_JUPYTER_BOOK", "pass")
    with pytest.raises(UserError, match=r"no page came of book/intro\.md"):
        book.build(root=tmp_path)


# --- Binder, dev container, hooks, forms --------------------------------------------------------


def _binder_lines() -> list[str]:
    lines = (ROOT / "binder" / "requirements.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_binder_installs_the_locked_versions_and_no_cuda() -> None:
    options = [line for line in _binder_lines() if line.startswith("-")]
    assert options == [
        "--extra-index-url https://download.pytorch.org/whl/cpu",
        "-c ../requirements.lock",
        "-e .",
    ]
    lock = (ROOT / "requirements.lock").read_text()
    locked = {canonicalize_name(name) for name in re.findall(r"(?m)^([\w.-]+)==", lock)}
    assert {canonicalize_name(line) for line in _binder_lines() if line not in options} <= locked
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    runtime = (ROOT / "binder" / "runtime.txt").read_text().strip()
    assert runtime.replace("-", "=") in environment["dependencies"]


def test_binder_has_what_the_chapters_import() -> None:
    installed = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    installed |= {"ipython"}  # which comes with JupyterLab
    distributions = importlib.metadata.packages_distributions()
    for path in sorted((ROOT / "book").glob("*.py")):
        for module in try_binder.imported(path.read_text()):
            top = module.partition(".")[0]
            names = {canonicalize_name(name) for name in distributions.get(top, [top])}
            known = top == "dltlib" or top in sys.stdlib_module_names
            assert known or names & installed, f"{path.name} imports {module}"


def test_binders_requirements_can_be_met_by_this_environment() -> None:
    """By pip, without an index: `make binder` installs them afresh, where there is time."""
    pins = (ROOT / "requirements.lock").read_text()
    for name, pin in re.findall(r"(?m)^(torch|numpy|jupyterlab)==(\S+)", pins):
        if importlib.metadata.version(name).partition("+")[0] != pin:
            pytest.skip("not the versions of requirements.lock")
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--no-index"]
    done = subprocess.run(
        [*command, "--no-build-isolation", "-r", "binder/requirements.txt"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_dev_container_makes_the_environment_of_everyone_else() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    image, _, version = container["image"].rpartition(":")
    assert image == "mcr.microsoft.com/devcontainers/python"
    assert SpecifierSet(PROJECT["requires-python"]).contains(version)
    assert container["postCreateCommand"].endswith("make install")
    assert _unknown_targets(container["postCreateCommand"]) == set()
    settings = container["customizations"]["vscode"]["settings"]
    assert settings["python.defaultInterpreterPath"].endswith(".venv/bin/python")


def test_hooks_are_our_own_targets_and_strip_no_output() -> None:
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert [each["repo"] for each in repositories] == ["local"]
    hooks = repositories[0]["hooks"]
    assert {hook["entry"] for hook in hooks} == {"make lint", "make stale"}
    assert all(_unknown_targets(hook["entry"]) == set() for hook in hooks)
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in hooks)


def test_forms_are_whole() -> None:
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert {path.stem for path in forms} == {"config", "mistake", "record"}
    for path in forms:
        form = yaml.safe_load(path.read_text())
        if path.stem == "config":
            continue
        assert {"name", "description", "body"} <= set(form)
        identifiers = [field["id"] for field in form["body"]]
        assert len(identifiers) == len(set(identifiers))
        for field in form["body"]:
            assert field["type"] in {"input", "textarea"}
            assert field["attributes"]["label"]
        assert any(field.get("validations", {}).get("required") for field in form["body"])
    text = "\n".join(path.read_text() for path in (ROOT / ".github").rglob("*.*"))
    assert set(re.findall(r"`dltlib ([a-z]+)", text)) <= {"claims", "book"}
    assert _unknown_targets(text) == set()


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "README.md", "book/start.md", "CHANGELOG.md"])
def test_texts_name_targets_that_exist(name: str) -> None:
    text = (ROOT / name).read_text()
    assert _unknown_targets(text) == set()
    assert "`make " in text


# --- citation and release -----------------------------------------------------------------------


def test_citation_codemeta_and_project_are_in_step() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    codemeta = json.loads((ROOT / "codemeta.json").read_text())
    assert codemeta["version"] == citation["version"] == __version__
    assert codemeta["name"] == citation["title"]
    assert codemeta["license"] == f"https://spdx.org/licenses/{citation['license']}"
    assert PROJECT["license"] == citation["license"]
    assert codemeta["identifier"] == PROJECT["name"]
    assert codemeta["description"] == PROJECT["description"]
    assert codemeta["keywords"] == citation["keywords"] == PROJECT["keywords"]
    assert codemeta["runtimePlatform"] == f"Python {PROJECT['requires-python']}"
    authors = [author["name"] for author in citation["authors"]]
    assert authors == [author["name"] for author in codemeta["author"]]
    assert authors == [author["name"] for author in PROJECT["authors"]]
    assert f"2026 {authors[0]}" in (ROOT / "LICENSE").read_text()
    (paper,) = citation["references"]
    assert codemeta["referencePublication"] == paper["url"]


def test_the_changelog_has_a_section_for_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert release.notes(changelog, __version__)
    assert re.findall(r"(?m)^## (\S+)", changelog)[0] in ("Unreleased", __version__)


def test_notes_are_one_section_or_refused() -> None:
    changelog = "# Log\n\n## Unreleased\n\n- c\n\n## 0.2.0\n\n- b\n\n## 0.1.0 (2026)\n\n- a\n\n## 0"
    assert release.notes(changelog, "0.2.0") == "- b\n"
    assert release.notes(changelog, "0.1.0") == "- a\n"
    for version in ("0.3.0", "0", "0.1"):
        with pytest.raises(ValueError, match="says nothing of"):
            release.notes(changelog, version)


@pytest.mark.parametrize("tag", ["v0.0.1", __version__, ""])
def test_a_tag_that_is_not_the_version_makes_no_release(tag: str) -> None:
    with pytest.raises(ValueError, match="does not fit the version"):
        release.main(tag)


def test_the_wheel_has_every_package() -> None:
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    listed = setuptools.find_packages(ROOT, **stated["find"])
    found = {path.parent for path in (ROOT / "dltlib").rglob("__init__.py")}
    assert set(listed) == {".".join(path.relative_to(ROOT).parts) for path in found}

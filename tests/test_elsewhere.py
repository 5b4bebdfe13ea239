"""The book away from home: address, launch buttons, the first cell on Colab, `make address`."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import nbformat
import pytest
import yaml

from dltlib import book, elsewhere, paths
from dltlib.errors import UserError

ADDRESS = "https://github.com/somebody/a-copy"
CITED = ("pyproject.toml", "CITATION.cff", "codemeta.json", "README.md")
# What Colab lacks of the library's dependencies: the rest is there, PyTorch above all.
LIGHT = {"jaxtyping": ["jaxtyping", "wadler_lindig"]}


def _set_address(root: Path, address: str) -> subprocess.CompletedProcess[str]:
    """Run `make address` on the copies in `root`."""
    for name in (*CITED, "tools/address.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if not (root / name).exists():
            shutil.copyfile(paths.REPOSITORY / name, root / name)
    command = [sys.executable, str(root / "tools" / "address.py"), address]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def _addresses(root: Path) -> set[str | None]:
    """What the four files say of the repository's address."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    readme = (root / "README.md").read_text()
    installed = readme.split("git+")[1].split('"')[0]
    return {
        project.get("urls", {}).get("Repository"),
        yaml.safe_load((root / "CITATION.cff").read_text()).get("repository-code"),
        json.loads((root / "codemeta.json").read_text()).get("codeRepository"),
        None if installed == "ADDRESS" else installed,
    }


def test_one_address_or_none_in_every_place() -> None:
    assert _addresses(paths.REPOSITORY) == {elsewhere.repository()}


def test_make_address_writes_every_place_and_can_be_run_again(tmp_path: Path) -> None:
    before = {name: (paths.REPOSITORY / name).read_text() for name in CITED}
    for address in (ADDRESS, ADDRESS, "https://github.com/another/place"):
        done = _set_address(tmp_path, address)
        assert done.returncode == 0, done.stderr
        assert _addresses(tmp_path) == {address}
        assert elsewhere.repository(tmp_path) == address
    changed = {
        name: set((tmp_path / name).read_text().splitlines()) ^ set(text.splitlines())
        for name, text in before.items()
    }
    for name, lines in changed.items():  # and nothing but the address
        assert all(
            "another/place" in line or line in ("[project.urls]", "") or "arxiv.org" in line
            for line in lines
            if line not in before[name].splitlines()
        ), lines


@pytest.mark.parametrize("address", ["somebody/a-copy", "https://gitlab.com/a/b", "git@x:a/b", ""])
def test_make_address_refuses_what_binder_and_colab_cannot_reach(
    tmp_path: Path, address: str
) -> None:
    done = _set_address(tmp_path, address)
    assert done.returncode != 0
    assert "https://github.com/NAME/REPOSITORY" in done.stderr
    assert _addresses(tmp_path) == _addresses(paths.REPOSITORY)


def test_an_odd_address_is_refused_by_the_book(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project.urls]\nRepository = "example"\n')
    with pytest.raises(UserError, match="NAME/REPOSITORY"):
        elsewhere.repository(tmp_path)


# --- notebooks and pages ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book of one chapter, executed and built while it had no address."""
    root = tmp_path_factory.mktemp("small")
    (root / "book").mkdir()
    (root / "book" / "one.py").write_text(
        "# ---\n# jupyter:\n#   kernelspec:\n#     display_name: Python 3\n"
        "#     language: python\n#     name: python3\n# ---\n\n"
        '# %% [markdown]\n# # One\n\n# %% tags=["parameters"]\nanswer = 42\n\n# %%\nprint(answer)\n'
    )
    (root / "book" / "intro.md").write_text("# Intro\n")
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: book/intro\nchapters:\n  - file: book/one.ipynb\n"
    )
    config = yaml.safe_load((paths.REPOSITORY / "_config.yml").read_text())
    kept = {key: config[key] for key in ("only_build_toc_files", "execute")}
    sphinx = {key: config["sphinx"]["config"][key] for key in ("extensions", "html_theme_options")}
    sphinx["html_theme_options"].pop("logo")  # its picture is not here
    kept["sphinx"] = {"config": sphinx | {"bibtex_bibfiles": []}}
    (root / "_config.yml").write_text(yaml.safe_dump(kept))
    book.execute(root=root)
    book.build(root=root)
    return root


def _page(root: Path) -> str:
    return (root / "_build" / "html" / "book" / "one.html").read_text()


def test_an_address_gives_buttons_and_a_first_cell_without_an_execution(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = small / "book" / "one.ipynb"
    before, page = nbformat.read(notebook, as_version=4), _page(small)
    assert "mybinder.org" not in page
    assert "colab" not in page

    (small / "pyproject.toml").write_text(f'[project.urls]\nRepository = "{ADDRESS}"\n')
    assert "says other things than its text" in "\n".join(book.problems("one", small))
    with monkeypatch.context() as patch:
        patch.setattr(book.execution, "_run", lambda *_: pytest.fail("executed"))
        assert book.execute(root=small) == []
    after = nbformat.read(notebook, as_version=4)
    assert after.cells[0].source == elsewhere.first_cell(ADDRESS)
    assert after.cells[0].metadata.tags == [elsewhere.FETCHING, "remove-cell"]
    assert after.cells[1:] == before.cells

    book.build(root=small)
    page = _page(small)
    assert "https://mybinder.org/v2/gh/somebody/a-copy/main?urlpath=lab/tree/book/one.ipynb" in page
    place = "somebody/a-copy/blob/main/book/one.ipynb"
    assert f"https://colab.research.google.com/github/{place}" in page
    assert "find_spec" not in page

    text = notebook.read_text()
    assert book.execute(force=True, root=small) == ["one"]
    assert notebook.read_text() == text  # executed with it, the notebook is the same
    assert book.problems("one", small) == []


# --- Colab --------------------------------------------------------------------------------------


def _wheel(name: str, folder: Path) -> None:
    """Make a wheel of an installed pure Python package again, so that pip needs no network."""
    found = importlib.metadata.distribution(name)
    with zipfile.ZipFile(folder / f"{name}-{found.version}-py3-none-any.whl", "w") as archive:
        for file in found.files or []:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                archive.write(file.locate(), str(file))


@pytest.fixture
def colab(tmp_path: Path) -> dict[str, str]:
    """A bare environment with PyTorch and all that Colab has, in which the address leads here.

    Returns the variables to run ``python`` of its folder ``bin`` with.
    """
    site = tmp_path / "installed"
    site.mkdir()
    absent = (*(name for names in LIGHT.values() for name in names), "dltlib", "__editable__")
    for item in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not item.name.startswith((*absent, "pip", "setuptools", "__pycache__")):
            (site / item.name).symlink_to(item)
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", bare], check=True)
    (place,) = (bare / "lib").glob("python*/site-packages")
    (place / "installed.pth").write_text(f"{site}\n")

    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name in (name for names in LIGHT.values() for name in names):
        _wheel(name, wheels)

    origin = tmp_path / "origin"
    ignored = shutil.ignore_patterns("__pycache__", "mathjax", ".ipynb_checkpoints")
    for name in ("dltlib", "book"):
        shutil.copytree(paths.REPOSITORY / name, origin / name, ignore=ignored)
    shutil.copyfile(paths.REPOSITORY / "pyproject.toml", origin / "pyproject.toml")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", str(origin)]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *command], check=True)

    kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    return kept | {
        "BARE": str(bare / "bin" / "python"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{origin.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": ADDRESS,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


def test_the_first_cell_installs_what_colab_lacks_and_nothing_else(
    colab: dict[str, str], tmp_path: Path
) -> None:
    """Tried as far as it can be here: the cell as it stands, in an environment like Colab's."""
    program = f"""
import importlib.metadata, json
def packages():
    return {{(each.name, each.version) for each in importlib.metadata.distributions()}}
before = packages()
{elsewhere.first_cell(ADDRESS)}
new = packages() - before
import dltlib, torch
from dltlib import networks, records, training
again = elsewhere.install_missing()
print(json.dumps([sorted(name for name, _ in new), again, records.available(), dltlib.__file__]))
"""
    (tmp_path / "content").mkdir()
    done = subprocess.run(
        [colab["BARE"], "-c", program],
        cwd=tmp_path / "content",
        env=colab,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    new, again, available, library = json.loads(done.stdout.splitlines()[-1])
    assert new == sorted(name for names in LIGHT.values() for name in names)
    assert again == []
    assert "criteria-fc-cpu" in available
    assert Path(library).parent.parent == tmp_path / "content" / "dltlib-book"
    restarted = [colab["BARE"], "-c", elsewhere.first_cell(ADDRESS) + "\nimport dltlib.page"]
    subprocess.run(restarted, cwd=tmp_path / "content", env=colab, check=True)


def test_the_first_cell_does_nothing_at_home(tmp_path: Path) -> None:
    """With nothing on the path that it could call, and in a folder that stays empty."""
    done = subprocess.run(
        [sys.executable, "-c", elsewhere.first_cell(ADDRESS)],
        cwd=tmp_path,
        env={"PATH": "", "PYTHONPATH": str(paths.REPOSITORY)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_is_told_by_name_and_not_by_version() -> None:
    assert elsewhere.missing(["torch>=99", "Jinja2", "no_such.thing>=1", "numpy[x]<1"]) == [
        "no_such.thing>=1"
    ]

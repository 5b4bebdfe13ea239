"""Gather what a release consists of in _build/release: python tools/release.py v0.2.0.

``NOTES.md`` is the changelog's section; ``assets/`` has the wheel, the site as an archive and,
where there is one, the book as PDF. Nothing is made for a tag that is not the version.
"""

import re
import shutil
import subprocess
import sys

from dltlib import __version__, paths


def notes(changelog: str, version: str) -> str:
    """The changelog's section of `version`; `ValueError` if it has none, or an empty one."""
    found = re.search(rf"(?ms)^## {re.escape(version)}(?!\S)[^\n]*\n(.*?)(?=^## |\Z)", changelog)
    if not found or not found[1].strip():
        raise ValueError(f"CHANGELOG.md says nothing of {version}")
    return found[1].strip() + "\n"


def main(tag: str) -> None:
    """Fill _build/release, or say why not."""
    if tag != f"v{__version__}":
        raise ValueError(f"the tag {tag} does not fit the version {__version__}")
    text = notes((paths.REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8"), __version__)
    if not (paths.site() / "index.html").exists():
        raise ValueError("there is no site: run make book")
    folder = paths.REPOSITORY / "_build" / "release"
    shutil.rmtree(folder, ignore_errors=True)
    assets = folder / "assets"
    assets.mkdir(parents=True)
    (folder / "NOTES.md").write_text(text, encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", assets, paths.REPOSITORY], check=True)
    shutil.make_archive(str(assets / f"dltlib-{__version__}-site"), "zip", paths.site())
    for book in (paths.REPOSITORY / "_build").glob("*.pdf"):
        shutil.copyfile(book, assets / f"dltlib-{__version__}-{book.name}")
    print("\n".join(sorted(path.name for path in assets.iterdir())))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:2] or [""])
    except ValueError as error:
        sys.exit(str(error))

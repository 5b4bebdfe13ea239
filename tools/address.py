"""Say where the public repository is: python tools/address.py https://github.com/NAME/REPOSITORY.

Writes the address into pyproject.toml, from which the pages' launch buttons and the notebooks'
first cell are made (`dltlib.elsewhere`), and into the three files that other programs and people
read: CITATION.cff, codemeta.json, README.md. `make book` then brings notebooks and pages up to
date without executing anything. Run it again for another address, as in a fork.
"""

import json
import re
import sys
from pathlib import Path

ADDRESS = re.compile(r"https://github\.com/[\w.-]+/[\w.-]+")


def write(address: str, root: Path) -> None:
    """Put `address` into the files below `root`, or raise `ValueError` and write nothing."""
    if not ADDRESS.fullmatch(address):
        raise ValueError(f"{address!r}: write https://github.com/NAME/REPOSITORY")
    project, citation = root / "pyproject.toml", root / "CITATION.cff"
    readme, codemeta = root / "README.md", root / "codemeta.json"

    text = project.read_text(encoding="utf-8")
    text = re.sub(r"\[project\.urls\]\n(?:\w+ = .*\n)+\n", "", text)
    urls = f'[project.urls]\nRepository = "{address}"\n\n[project.scripts]\n'
    project.write_text(text.replace("[project.scripts]\n", urls), encoding="utf-8")

    text = re.sub(r"repository-code: .*\n", "", citation.read_text(encoding="utf-8"))
    citation.write_text(
        re.sub(r"(?m)^(license: .*\n)", rf'\1repository-code: "{address}"\n', text),
        encoding="utf-8",
    )

    described = json.loads(codemeta.read_text(encoding="utf-8"))
    described |= {"codeRepository": address, "issueTracker": f"{address}/issues"}
    codemeta.write_text(json.dumps(described, indent=2, ensure_ascii=False) + "\n", "utf-8")

    text = re.sub(r"git\+(ADDRESS|https://\S+?)(?=[\s\"`])", f"git+{address}", readme.read_text())
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("make address URL=https://github.com/NAME/REPOSITORY")
    try:
        write(sys.argv[1].removesuffix(".git").rstrip("/"), Path(__file__).resolve().parent.parent)
    except ValueError as error:
        sys.exit(str(error))
    print("written; `make book` brings notebooks and pages up to date")

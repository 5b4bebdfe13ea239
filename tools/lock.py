"""Pin the dependencies anew: python tools/lock.py.

Installs the ranges of pyproject.toml, extras included, into a throw-away environment and writes
what came out to requirements.lock.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# Every pin of the project, and the only place for them: `make lock` writes this file,
# tests/test_environment.py holds it, pyproject.toml and environment.yml together.
#
# What the dependencies pull in is pinned as well, so that the book looks the same next year, with
# one exception: the CUDA packages and triton. PyTorch pins those itself, exactly, and only where it
# uses them (Linux); naming them here would break the installation on macOS and Windows.
"""
LEFT_TO_TORCH = ("nvidia-", "cuda-", "triton")
OURS_OR_PIP = {"pip", "dltlib"}
# Packages that exist for some systems only.
MARKERS = {
    "pexpect": 'sys_platform != "win32"',
    "ptyprocess": 'sys_platform != "win32"',
}


def freeze(python: str) -> list[str]:
    """Lines "name==version" of the environment of `python`, sorted, without what is left out."""
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze", "--exclude-editable"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    lines = []
    for line in sorted(listed, key=str.lower):
        name, _, version = line.partition("==")
        if name.startswith(LEFT_TO_TORCH) or name in OURS_OR_PIP:
            continue
        # A local label, as in 2.9.1+cpu, names a build that no index has for everyone.
        pin = f"{name}=={version.partition('+')[0]}"
        lines.append(f"{pin} ; {MARKERS[name]}" if name in MARKERS else pin)
    return lines


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = str(Path(folder) / "bin" / "python")
        wanted = f"{ROOT}[book,test,dask]"
        subprocess.run([python, "-m", "pip", "install", wanted, "setuptools"], check=True)
        pins = freeze(python)
    (ROOT / "requirements.lock").write_text(HEADER + "\n" + "\n".join(pins) + "\n")

"""Install binder/requirements.txt as Binder would and try it: python tools/try_binder.py.

In a throw-away environment, from the root of the repository, as repo2docker does it. Then every
module that a chapter imports is imported there, and JupyterLab is asked for the extensions that it
found. What is not tried: Binder's own image around it. Where the index of PyTorch's CPU builds
cannot be reached, pip takes PyPI's build, with CUDA: the disk counted is far more than Binder's.
"""

import ast
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MEMORY = 2 * 2**30
"""Bytes of memory that Binder gives a reader."""
EXTENSIONS = ("jupyterlab-myst", "jupyterlab-jupytext")
_TRIAL = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
import resource
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def imported(source: str) -> set[str]:
    """Modules that the code of a chapter imports, ``from dltlib import page`` as dltlib.page."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "dltlib":
            names |= {f"dltlib.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    return names


def main() -> None:
    """Install, import, and say how much disk and memory that took."""
    modules = set().union(*(imported(path.read_text()) for path in (ROOT / "book").glob("*.py")))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = Path(folder) / "bin" / "python"
        install = [python, "-m", "pip", "install", "-q", "-r", "binder/requirements.txt"]
        subprocess.run(install, cwd=ROOT, check=True)
        trial = [python, "-c", _TRIAL, *sorted(modules)]
        memory = int(subprocess.run(trial, check=True, stdout=subprocess.PIPE).stdout)
        listing = [Path(folder) / "bin" / "jupyter", "labextension", "list"]
        listed = subprocess.run(listing, check=True, capture_output=True, text=True)
        disk = sum(path.lstat().st_size for path in Path(folder).rglob("*"))
    for extension in EXTENSIONS:
        if extension not in listed.stdout + listed.stderr:
            sys.exit(f"JupyterLab does not find {extension}")
    if memory > MEMORY / 2:
        sys.exit(f"the imports alone take {memory / 2**30:.1f} GiB, half of Binder's memory")
    print(f"{disk / 2**30:.1f} GiB of disk; {memory / 2**20:.0f} MiB of memory after all imports")


if __name__ == "__main__":
    main()

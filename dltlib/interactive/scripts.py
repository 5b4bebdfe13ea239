"""Values as scripts: JSON that a page loads with a script element, arrays as base64 in it."""

import base64
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dltlib.records import Record


def write_script(folder: Path, name: str, value: object) -> Path:
    """Write ``folder/NAME.js``, which hands the value to the page under its name."""
    target = folder / f"{name}.js"
    target.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    target.write_text(f"dlt.put({json.dumps(name)},{text});\n", encoding="utf-8")
    return target


def packed(values: np.ndarray) -> dict[str, Any]:
    """An array for ``dlt.unpack``: its type, its shape and its little-endian bytes in base64."""
    content = np.ascontiguousarray(values)
    content = content.astype(content.dtype.newbyteorder("<"))
    return {
        "type": content.dtype.name,
        "shape": list(content.shape),
        "base64": base64.b64encode(content.tobytes()).decode("ascii"),
    }


def numbers(values: Sequence[float], digits: int | None = None) -> list[float | None]:
    """Floats for JSON, to so many significant digits (default: all); None where not finite."""
    rounded = (value if digits is None else float(f"{value:.{digits}g}") for value in values)
    return [value if math.isfinite(value) else None for value in rounded]


def source(record: Record) -> dict[str, str]:
    """Where a record comes from, for the line below a picture, and the command that remakes it."""
    text, _, _ = record.provenance().partition(" Remake: ")
    return {"provenance": text, "command": record.manifest["command"]}

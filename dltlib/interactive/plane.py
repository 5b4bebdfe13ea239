"""Data of the plane of w_i and w_f: the weight samples that the records of criteria keep."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dltlib import records
from dltlib.figures.regions import region_color
from dltlib.interactive.scripts import packed, source

# Criteria that are functions of (w_i, w_f), hence regions; and chance, which is none.
CRITERIA = (
    "large_final",
    "small_final",
    "large_init",
    "small_init",
    "large_init_large_final",
    "small_init_small_final",
    "magnitude_increase",
    "movement",
    "large_final_same_sign",
    "large_final_diff_sign",
    "magnitude_increase_same_sign",
    "random",
)


def scripts(directory: Path) -> Iterator[tuple[str, object]]:
    """(name, value) of every script: an index, and the samples of each record."""
    found = {
        file.stem: records.read(file.stem, directory)
        for file in sorted(directory.glob("criteria-*.npz"))
        if (directory / f"{file.stem}.parquet").exists()
    }
    yield (
        "plane/index",
        {
            "records": {name: record.in_full() for name, record in found.items()},
            "colors": {name: region_color(name) for name in CRITERIA},
        },
    )
    for name, record in found.items():
        arrays = records.read_arrays(name, directory)
        samples = {
            key.removeprefix("weights/"): packed(value.astype(np.float32))
            for key, value in arrays.items()
            if key.startswith("weights/")
        }
        yield (
            f"plane/{name}",
            {
                "scale": record.scale(),
                "preset": record.plan["preset"],
                **source(record),
                "layers": samples,
            },
        )

"""Progress of long work: one bar that says round, accuracy and time left."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm.auto import tqdm

from dltlib.runners import Progress


@contextmanager
def bar(title: str, iterations: int, rounds: int, quiet: bool = False) -> Iterator[Progress]:
    """A bar over ``iterations`` replica-iterations, as the callback that runners report to."""
    with tqdm(
        total=iterations, desc=title, unit=" it", unit_scale=True, smoothing=0.1, disable=quiet
    ) as display:

        def report(done: int, accuracy: float, round_: int) -> None:
            display.set_description_str(f"{title}, round {round_}/{rounds}", refresh=False)
            if not math.isnan(accuracy):
                display.set_postfix_str(f"validation {accuracy:.1%}", refresh=False)
            display.update(done)

        yield report

"""Progress of long work: one bar that says round, accuracy and time left."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from dltlib.kinds import Progress


@contextmanager
def bar(title: str, iterations: int, rounds: int, quiet: bool = False) -> Iterator[Progress]:
    """A bar over ``iterations`` replica-iterations, as the callback that runners report to."""
    with tqdm(
        total=iterations, desc=title, unit=" it", unit_scale=True, smoothing=0.1, disable=quiet
    ) as display:

        def report(iterations: int, accuracy: float, round_: int, *, earlier: str = "") -> None:
            if quiet:
                return
            display.set_description_str(f"{title}, round {round_}/{rounds}", refresh=False)
            if not math.isnan(accuracy):
                display.set_postfix_str(f"validation {accuracy:.1%}", refresh=False)
            if earlier:  # the bar starts where the run stands; its speed is that of today
                display.write(f"{title}: {earlier}")
                display.initial += iterations
                display.n += iterations
                display.last_print_n += iterations
                display.refresh()
            else:
                display.update(iterations)

        yield report

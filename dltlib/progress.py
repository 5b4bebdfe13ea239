"""Progress of long work: one bar that says round, accuracy and time left."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from dltlib import experiments
from dltlib.kinds import KINDS, Progress
from dltlib.plans import Plan


@contextmanager
def bar(
    title: str, plan: Plan, iterations: int | None = None, quiet: bool = False
) -> Iterator[Progress]:
    """A bar over the plan's replica-iterations (or so many of them), as the callback that runners
    report to."""
    total = experiments.size(plan).iterations if iterations is None else iterations
    counts = KINDS.find(plan.kind).counts
    last = getattr(plan, counts)
    with tqdm(
        total=total, desc=title, unit=" it", unit_scale=True, smoothing=0.1, disable=quiet
    ) as display:

        def report(iterations: int, accuracy: float, round_: int, *, earlier: str = "") -> None:
            if quiet:
                return
            where = f", {counts.removesuffix('s')} {round_}/{last}" if last else ""
            display.set_description_str(title + where, refresh=False)
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

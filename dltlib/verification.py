"""``dltlib verify``: replicas of a record trained again from its manifest, and compared with it.

On a processor like the one that made them all rows have to come out the same to the last bit. On
another, where the record does not say, or where it was continued by what gives other numbers, sums
in another order lead training elsewhere; there the test accuracies may differ, in the middle over
a replica's rounds, by `TOLERANCE`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from dltlib import experiments, fingerprints, paths, processor, records, runs
from dltlib.checkpoints import Checkpoint
from dltlib.errors import UserError
from dltlib.kinds import KINDS, Progress
from dltlib.plans import Plan, Replica
from dltlib.records import Record

# Five points: between two processors Conv2 at width 1/8, the most touchy, differed by up to 3.
TOLERANCE = 0.05


@dataclass(frozen=True)
class Verdict:
    """How rows trained again compare. ``difference`` is the median over a replica's rounds of how
    far test accuracies lie apart (a share), of the replica where it is largest."""

    replicas: list[Replica]
    rows: int
    unlike: str  # why other bits than the record's may come out, in words; empty if they may not
    identical: bool
    difference: float

    @property
    def holds(self) -> bool:
        """Whether the record is borne out."""
        return self.identical or (bool(self.unlike) and self.difference <= TOLERANCE)

    def describe(self) -> str:
        """In a sentence."""
        which = ", ".join(f"{replica.arm} with seed {replica.seed}" for replica in self.replicas)
        where = self.unlike or "on a processor like the record's"
        if self.identical:
            found = "every number is the record's, to the last bit"
        else:
            allowed = f"up to {TOLERANCE:.0%} is allowed" if self.unlike else "none is allowed"
            found = f"test accuracies lie {self.difference:.2%} apart ({allowed})"
        return f"{which}: {self.rows} rows trained again {where}; {found}"


def sample(record: Record, count: int) -> list[Replica]:
    """So many replicas of a record, spread evenly over its arms and seeds."""
    there = record.replicas
    if not 1 <= count <= len(there):
        raise UserError(
            f"{record.name} has {len(there)} replicas: choose 1 to {len(there)} of them"
        )
    return [there[len(there) * index // count] for index in range(count)]


def plan_of(record: Record, replicas: Sequence[Replica]) -> Plan:
    """The record's plan with no more arms and seeds than these replicas need."""
    arms = tuple(dict.fromkeys(replica.arm for replica in replicas))
    seeds = 1 + max(replica.seed for replica in replicas)
    return Plan(**record.plan | {"arms": arms, "seeds": seeds})


def verify(
    record: Record,
    replicas: Sequence[Replica],
    device: torch.device | str = "cpu",
    rounds: int | None = None,
    progress: Progress | None = None,
) -> Verdict:
    """Train these replicas again, up to so many ``rounds`` (default: all), and compare the rows.

    Raises `UserError` if the data here are not those that the record was made of, or for a number
    of rounds that is none.
    """
    if rounds is not None and rounds < 0:
        raise UserError(f"rounds must not be negative, as {rounds} is")
    device = torch.device(device)
    plan = plan_of(record, replicas)
    experiments.check_precision(plan, device)
    dataset = experiments.load_dataset(plan)
    made = record.manifest.get("fingerprint")  # older records do not say
    if made is not None and made["data"] != fingerprints.of_data(dataset):
        raise UserError(
            f"{record.name} was made of other images or labels than the {plan.dataset} that lies "
            f"in {paths.data()}: nothing to compare"
        )
    dataset = dataset.to(device)
    checkpoint = Checkpoint(None, plan.hash, replicas)
    for _ in runs.rounds(plan, checkpoint, device, dataset, progress):
        if rounds is not None and checkpoint.round >= rounds:
            break
    again = records.as_table(checkpoint.rows)
    held = records.as_table(
        [row for row in record.rows_of(replicas) if row["round"] <= checkpoint.round]
    )
    measured = [column for column in again.columns if column in held]  # older ones measured less
    again, held = again[measured], held[measured]
    both = again.merge(held, on=records.KEY, suffixes=("", "_held"))
    apart = (both["test_accuracy"] - both["test_accuracy_held"]).abs()
    return Verdict(
        replicas=list(replicas),
        rows=len(held),
        unlike=_unlike(record, replicas, device),
        identical=_identical(again, held),
        difference=float(apart.groupby([both["arm"], both["seed"]]).median().max()),
    )


def _unlike(record: Record, replicas: Sequence[Replica], device: torch.device) -> str:
    """`Verdict.unlike` of these replicas, trained again on the device."""
    if device.type != "cpu":
        return "on a GPU, where bits depend on how many networks share operations"
    if "continued_from" in record.manifest:
        return "of a record that was continued by what gives other numbers"
    made = [record.made_on(replica) for replica in replicas]
    if any(facts.get("processor") != processor.kind(device) for facts in made):
        return "on another kind of processor"
    if not KINDS.find(plan_of(record, replicas).kind).stock_torch:
        return ""
    # Its sums depend on the version, the maker of the processor and the number of threads, too.
    if record.manifest["versions"]["torch"] != records.versions()["torch"]:
        return "by another version of torch"
    if any(facts["device"] != processor.describe(device) for facts in made):
        return "on another kind of processor or number of threads"
    return ""


def _identical(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    try:
        pd.testing.assert_frame_equal(one, other, check_exact=True, check_dtype=False)
    except AssertionError:
        return False
    return True


def iterations(record: Record, replicas: Sequence[Replica]) -> int:
    """Replica-iterations that `verify` takes at most, for a bar."""
    plan = plan_of(record, replicas)
    size = experiments.size(plan).iterations
    return round(size * len(replicas) / (len(plan.arms) * plan.seeds))

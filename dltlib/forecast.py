"""What a plan will cost on this machine, before it runs: ``dltlib run --dry-run``."""

import torch

from dltlib import experiments, storage
from dltlib.kinds import KINDS
from dltlib.plans import Plan


def describe(plan: Plan, device: torch.device | str, force: bool = False) -> list[str]:
    """Lines for people: trainings, iterations, memory, checkpoints, and the time to be expected.

    The time is measured in a second or two, on made-up images of the data set's shape, and leaves
    out evaluation and pruning. What is there already is left out, too, unless ``force``d to begin
    anew.
    """
    device = torch.device(device)
    experiments.check_precision(plan, device)
    size, network = experiments.size(plan), experiments.build_network(plan)
    each, together = experiments.memory(plan, device)
    at_once = experiments.replicas_at_once(plan, device)
    kind = KINDS.find(plan.kind)
    state = size.replicas * network.weight_count * kind.state_bytes
    lines = [
        f"{experiments.name(plan)}: {experiments.command(plan)}",
        f"  {size.replicas:,} replicas (arms: {len(plan.arms)}, seeds: {plan.seeds}), "
        f"{network.weight_count:,} weights each",
        f"  {size.iterations:,} training iterations, of all replicas together",
        f"  memory: {each / 1e6:,.0f} MB a replica, {together / 1e6:,.0f} MB once; "
        f"{at_once:,} replicas fit side by side now",
        f"  checkpoint: about {state / 1e6:,.0f} MB",
    ]
    if not force and storage.is_done(plan) and storage.finished(plan):
        return [*lines, f"  done: {storage.record_path(plan)} (--force would run it again)"]
    there, left = ([], size.iterations) if force else _there(plan)
    expected = "nobody knows"
    if kind.seconds is not None:
        seconds = kind.seconds(plan, network, device, left)
        expected = f"about {_duration(seconds)} of computing on this machine as it is now"
    return [*lines, *there, f"  time: {expected}; evaluation while training comes on top"]


def _there(plan: Plan) -> tuple[list[str], int]:
    """What of the plan is there already, in words, and how many of its iterations are left."""
    begun, reused, missing = storage.inventory(plan)
    held = [replica for checkpoint in begun for replica in checkpoint.replicas]
    to_train = experiments.iterations(plan, [*held, *missing])
    left = to_train - sum(checkpoint.iterations for checkpoint in begun)
    words = []
    if reused:
        replicas = sum(len(part.replicas) for part in reused)
        names = ", ".join(part.record.name for part in reused)
        words.append(
            f"  {replicas:,} of the replicas are in records already ({names}) and are not trained "
            f"again, if code and data give the same numbers: {to_train:,} iterations are to be "
            "trained"
        )
    if left < to_train:
        words.append(f"  begun: {1 - left / to_train:.0%} of the iterations are done")
    return words, left


def _duration(seconds: float) -> str:
    """In words of one unit.

    >>> _duration(5400)
    '1.5 hours'
    """
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 1.5 * length or (unit == "hours" and seconds >= length):
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} seconds" if seconds >= 1.5 else "a second"

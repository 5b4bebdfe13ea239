"""From the name of an experiment to a plan, and from a plan to its name, its needs and its size.

The experiments themselves are entries of `catalogue.EXPERIMENTS`; what reads and runs their arms
is a kind in `kinds`.
"""

import dataclasses
import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from dltlib import catalogue, datasets, networks, plans, training
from dltlib.checkpoints import Checkpoint
from dltlib.datasets import Dataset
from dltlib.errors import UserError
from dltlib.kinds import KINDS, Progress, Shard, unheard
from dltlib.networks import Network
from dltlib.plans import Plan, Replica
from dltlib.registry import check_name


def plan(experiment: str, network: str = "fc", preset: str = "tiny", **overrides: Any) -> Plan:
    """The plan of a preset, any option of it overridden.

    Raises `UserError` for unknown names, bad values, and options that decide nothing there.
    """
    definition = catalogue.EXPERIMENTS.find(experiment)
    architecture = catalogue.NETWORKS.find(network)
    check_name("preset", preset, catalogue.PRESETS)
    unknown = set(overrides) - {field.name for field in dataclasses.fields(Plan)}
    if unknown:
        raise UserError(f"a plan has no option {', '.join(sorted(unknown))}")
    kind = KINDS.find(definition.kind)
    values = {"arms": definition.arms, **kind.preset(architecture, preset)}
    values |= definition.options(architecture)
    unused = kind.unused if architecture.channels else kind.unused | {"keep_conv"}
    for name in sorted(unused & set(overrides)):
        if overrides[name] != (plans.defaults() | values).get(name, overrides[name]):
            raise UserError(f"{experiment} on {network} does not use {name}: leave it out")
    values |= overrides
    values["arms"] = tuple(str(kind.parse(arm)) for arm in values["arms"])
    made = Plan(experiment, network, preset, **plans.as_typed(values))
    size(made)  # what no machine finishes is refused before anything starts
    return made


def stock(of: Plan) -> Plan:
    """The plan of the same preset with nothing overridden."""
    return plan(of.experiment, of.network, of.preset)


def name(of: Plan) -> str:
    """``experiment-network-preset``, and the hash if the preset's values were overridden."""
    short = f"{of.experiment}-{of.network}-{of.preset}"
    return short if of == stock(of) else f"{short}-{of.hash}"


def command(of: Plan) -> str:
    """The command that runs this plan, as a user would type it."""
    words = ["dltlib", "run", of.experiment, "--network", of.network, "--preset", of.preset]
    unchanged = stock(of)
    for field in dataclasses.fields(Plan):
        value = getattr(of, field.name)
        if value != getattr(unchanged, field.name):
            values = value if isinstance(value, tuple) else (value,)
            words += [
                f"--{field.name.replace('_', '-')}",
                *("none" if one is None else str(one) for one in values),
            ]
    return shlex.join(words)


# --- what a plan needs, and adds up to ---------------------------------------------------------

MOST_ITERATIONS = 10**12  # at the fastest ever seen here, 7 microseconds, a quarter of a year
MOST_ROWS = 10**7  # of a record


@dataclass(frozen=True)
class Size:
    """What a plan adds up to. ``iterations`` are replica-iterations, dense trainings shared."""

    replicas: int
    rows: int
    iterations: int


def build_network(of: Plan) -> Network:
    """The plan's network for its data set's images."""
    facts = catalogue.DATASETS[of.dataset]
    return networks.build(of.network, facts.shape, of.width, facts.classes)


def load_dataset(of: Plan) -> Dataset:
    """The plan's data, on the CPU."""
    return datasets.load(of.dataset).with_train_images(of.train_images)


def check_precision(of: Plan, device: torch.device) -> None:
    """Raise `UserError` for a precision that the device does not compute in."""
    if device.type == "cpu" and of.precision != "fp32":
        raise UserError(
            f"precision {of.precision} is a GPU's, and a CPU computes in fp32: leave it out, or "
            "run with --device cuda"
        )


def replicas_at_once(of: Plan, device: torch.device) -> int:
    """How many replicas fit into the memory that is free now, at most all of the plan.

    Raises `UserError` if not even one does.
    """
    import psutil

    if device.type == "cuda":
        # What torch keeps of earlier runs for itself is as good as free.
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        free = torch.cuda.mem_get_info(device)[0] + cached
    else:
        free = psutil.virtual_memory().available
    each, together = memory(of, device)
    # Half stays free: for the data set, the allocator and everybody else.
    count = int((free / 2 - together) // each)
    if count < 1:
        raise UserError(
            f"one replica of {of.network} at width {of.width} needs about "
            f"{(each + together) / 1e9:.1f} GB and twice that should be free, but "
            f"{free / 1e9:.1f} GB are: choose a smaller width, or a machine with more memory"
        )
    return min(count, of.seeds * len(of.arms))


def memory(of: Plan, device: torch.device) -> tuple[int, int]:
    """Bytes that each replica needs, and that all of them need once."""
    network = build_network(of)
    # w_i, w_f, the start, the present, the best, gradient, two moments of Adam, scores and ranks
    # while pruning (float64 and int64), masks.
    state = network.weight_count * (8 * 4 + 4 * 8 + 4)
    _, height, width = network.input_shape
    pixels = sum(
        channels * height * width // 4 ** (index // 2)
        for index, channels in enumerate(network.channels)
    )
    # Activations of an evaluation batch, or of a training batch with gradients.
    images = max(3 * training.EVALUATION_BATCH, 6 * of.batch_size)
    activations = 4 * images * (pixels + sum(network.hidden))
    return (state, activations) if device.type == "cpu" else (state + activations, 0)


def in_memory(of: Plan, device: torch.device, progress: Progress = unheard) -> Checkpoint:
    """Run a small plan from start to end, all replicas side by side, and keep nothing on disk.

    Raises `UserError` for a precision that the device does not compute in.
    """
    check_precision(of, device)
    checkpoint = Checkpoint(None, of.hash, of.replicas)
    dataset = load_dataset(of).to(device)
    shard = Shard(of, build_network(of), dataset, device, checkpoint, progress)
    for _ in KINDS.find(of.kind).run(shard):
        pass
    return checkpoint


def size(of: Plan) -> Size:
    """Count what a plan asks for, without data or a network.

    Raises `UserError` with the count for what no machine finishes, and for shares of weights that
    come to nothing.
    """
    facts = catalogue.DATASETS[of.dataset]
    images = of.train_images or facts.train
    if images > facts.train:
        raise UserError(
            f"train_images must lie between 1 and the {facts.train} of {of.dataset}, not {images}"
        )
    if images < of.batch_size:
        raise UserError(
            f"{images} training images are less than one batch of {of.batch_size}: choose a "
            "smaller batch_size or more train_images"
        )
    training = images // of.batch_size * of.epochs
    replicas = of.seeds * len(of.arms)
    counted = Size(
        replicas=replicas,
        rows=replicas * (of.rounds + 1),
        iterations=KINDS.find(of.kind).iterations(of, training, facts.validation + facts.test),
    )
    for number, most, what in (
        (counted.rows, MOST_ROWS, "rows of a record (arms x seeds x rounds)"),
        (counted.iterations, MOST_ITERATIONS, "training iterations in all"),
    ):
        if number > most:
            raise UserError(
                f"this plan asks for {_about(number)} {what}, and no machine finishes more than "
                f"{_about(most)}: choose fewer arms, seeds, rounds or epochs"
            )
    for role in ("conv", "dense", "output"):
        if of.keep_fraction(role, of.rounds) == 0:
            raise UserError(
                f"keep_{role} {of.keep_rate(role)} leaves nothing after {of.rounds} rounds"
            )
    return counted


def iterations(of: Plan, replicas: Iterable[Replica]) -> int:
    """Replica-iterations of some of a plan's replicas, the dense training of each seed shared."""
    arms: dict[int, list[str]] = {}
    for replica in replicas:
        arms.setdefault(replica.seed, []).append(replica.arm)
    each = (dataclasses.replace(of, seeds=1, arms=tuple(some)) for some in arms.values())
    return sum(size(one).iterations for one in each)


def _about(number: int) -> str:
    exponent = len(str(number)) - 1
    return f"{number:,}" if exponent < 9 else f"{number // 10**exponent} x 10^{exponent}"

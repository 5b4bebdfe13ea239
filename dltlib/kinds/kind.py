"""What a kind of experiment is: its grammar of arms, its presets, its runner and what it costs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import torch

from dltlib.catalogue import Architecture
from dltlib.checkpoints import Checkpoint
from dltlib.datasets import Dataset
from dltlib.networks import Network
from dltlib.plans import Plan, Replica
from dltlib.registry import Registry


@runtime_checkable
class Progress(Protocol):
    """Called with replica-iterations done, mean validation accuracy (or nan) and round.

    Those that were done before this run are reported at its start, ``earlier`` saying in words
    what of it was.
    """

    def __call__(self, iterations: int, accuracy: float, round_: int, *, earlier: str = "") -> None:
        """Report; see above."""


def unheard(iterations: int, accuracy: float, round_: int, *, earlier: str = "") -> None:
    """The `Progress` that nobody listens to."""


@dataclass(frozen=True)
class Shard:
    """Replicas of a plan that run side by side, with all that they need."""

    plan: Plan
    network: Network
    dataset: Dataset
    device: torch.device
    checkpoint: Checkpoint
    progress: Progress

    @property
    def replicas(self) -> Sequence[Replica]:
        """Those of its checkpoint."""
        return self.checkpoint.replicas

    @property
    def seeds(self) -> list[int]:
        """One for each replica."""
        return [replica.seed for replica in self.replicas]

    def in_round(self, round_: int) -> Callable[[int, float], None]:
        """What training reports to: the shard's progress in that round."""
        return lambda iterations, accuracy: self.progress(iterations, accuracy, round_)


Runner = Callable[[Shard], Iterator[None]]


@dataclass(frozen=True)
class Kind:
    """A kind of experiment.

    ``grammar`` is how an arm is written, for messages and help; ``parse`` reads one, or raises
    `UserError`; its string is the arm's full name. ``preset`` gives the options of a plan at a
    preset of `catalogue.PRESETS` on a network, the seeds included. ``unused`` are the options that
    decide nothing: overriding one is refused. ``iterations`` counts the replica-iterations of a
    plan whose trainings take so many each, on data with so many images to be evaluated. ``run`` is
    a generator that does the work of a shard from its checkpoint to its end and pauses whenever it
    has saved, so that its caller may stop there or carry on elsewhere. ``counts`` is the option
    that says how many there are of what the column ``round`` counts.

    For forecasts: ``seconds`` measures what so many replica-iterations of a plan take here, and
    ``state_bytes`` is what a checkpoint holds for each weight. ``stock_torch``: on a CPU, too, some
    of its numbers are stock torch's, whose bits depend on the processor.
    """

    name: str
    grammar: str
    parse: Callable[[str], NamedTuple]
    preset: Callable[[Architecture, str], Mapping[str, Any]]
    iterations: Callable[[Plan, int, int], int]
    run: Runner
    unused: frozenset[str] = frozenset()
    seconds: Callable[[Plan, Network, torch.device, int], float] | None = None
    state_bytes: int = 5  # a mask, and w_f
    stock_torch: bool = True
    counts: Literal["rounds", "epochs"] = "rounds"


KINDS: Registry[Kind] = Registry("kind of experiment")

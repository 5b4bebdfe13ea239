"""Mask criteria: how much each weight deserves to stay (section 2 of the paper).

A criterion is a function from what is known of one layer to a score for each weight; the highest
scores are kept. To add one, write the function and decorate it: nothing else needs to know.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dltlib.errors import UserError


@dataclass(frozen=True)
class Evidence:
    """What a criterion may look at: one layer of R replicas, every tensor ``[replica, *shape]``."""

    initial: Float[Tensor, "replica *shape"]  # w_i
    final: Float[Tensor, "replica *shape"]  # w_f
    alive: Bool[Tensor, "replica *shape"]  # not pruned in an earlier round
    uniform: Callable[[], Float[Tensor, "replica *shape"]]  # draws in [0, 1), named
    gradient: Callable[[], Float[Tensor, "replica *shape"]]  # of the loss at w_i, dense network


Score = Callable[[Evidence], Float[Tensor, "replica *shape"]]


@dataclass(frozen=True)
class Criterion:
    """A named score. ``opposite`` names the criterion that prefers what this one prunes."""

    name: str
    score: Score
    formula: str
    opposite: str | None


CRITERIA: dict[str, Criterion] = {}

# The nine of the paper's figures, in its order; `CRITERIA` holds more.
PAPER = (
    "large_final",
    "small_final",
    "random",
    "large_init",
    "small_init",
    "large_init_large_final",
    "small_init_small_final",
    "magnitude_increase",
    "movement",
)


def criterion(formula: str, opposite: str | None = None) -> Callable[[Score], Score]:
    """Register the decorated function under its own name; ``formula`` is its LaTeX."""

    def register(score: Score) -> Score:
        CRITERIA[score.__name__] = Criterion(score.__name__, score, formula, opposite)
        return score

    return register


def find(name: str) -> Criterion:
    """The criterion of that name, or a `UserError` that lists them all."""
    if name not in CRITERIA:
        raise UserError(f"unknown criterion {name!r}: choose one of {', '.join(CRITERIA)}")
    return CRITERIA[name]


def ranks(
    values: Float[Tensor, "replica *shape"], alive: Bool[Tensor, "replica *shape"]
) -> Float[Tensor, "replica *shape"]:
    """Rank of each living weight among the living of its layer, 0 the smallest; ties by position.

    What is not a number ranks lowest: a diverged weight must not pass for a large one. Pruned
    weights get -1.
    """
    # float64 counts exactly to 2**53; float32 would merge ranks above 2**24.
    rank = torch.full(values.shape, -1.0, dtype=torch.float64, device=values.device).flatten(1)
    for own, value, living in zip(rank, values.flatten(1), alive.flatten(1), strict=True):
        places = living.nonzero().squeeze(1)
        value = value[places].masked_fill(value[places].isnan(), -torch.inf)
        order = places[value.argsort(stable=True)]
        own[order] = torch.arange(len(order), dtype=torch.float64, device=values.device)
    return rank.reshape(values.shape)


def same_sign(evidence: Evidence) -> Bool[Tensor, "replica *shape"]:
    """Where training left the sign of the weight as it was drawn."""
    return torch.signbit(evidence.initial) == torch.signbit(evidence.final)


@criterion(r"|w_f|", opposite="small_final")
def large_final(evidence: Evidence) -> Tensor:
    """Large where training ended: the original lottery ticket."""
    return evidence.final.abs()


@criterion(r"-|w_f|", opposite="large_final")
def small_final(evidence: Evidence) -> Tensor:
    """Small where training ended."""
    return -evidence.final.abs()


@criterion(r"\mathrm{uniform}")
def random(evidence: Evidence) -> Tensor:
    """Chance, as a baseline."""
    return evidence.uniform()


@criterion(r"|w_i|", opposite="small_init")
def large_init(evidence: Evidence) -> Tensor:
    """Large before training."""
    return evidence.initial.abs()


@criterion(r"-|w_i|", opposite="large_init")
def small_init(evidence: Evidence) -> Tensor:
    """Small before training."""
    return -evidence.initial.abs()


@criterion(r"\min(\alpha |w_f|, |w_i|)", opposite="small_init_small_final")
def large_init_large_final(evidence: Evidence) -> Tensor:
    """Large before and after training, both cut at the same share."""
    # The alpha for which both thresholds cut the same share is what ranks give without solving
    # for it: a weight is among the best k of both exactly if its smaller rank is.
    return torch.minimum(
        ranks(evidence.final.abs(), evidence.alive), ranks(evidence.initial.abs(), evidence.alive)
    )


@criterion(r"-\max(\alpha |w_f|, |w_i|)", opposite="large_init_large_final")
def small_init_small_final(evidence: Evidence) -> Tensor:
    """Small before and after training, both cut at the same share."""
    return torch.minimum(
        ranks(-evidence.final.abs(), evidence.alive),
        ranks(-evidence.initial.abs(), evidence.alive),
    )


@criterion(r"|w_f| - |w_i|")
def magnitude_increase(evidence: Evidence) -> Tensor:
    """What training made larger."""
    return evidence.final.abs() - evidence.initial.abs()


@criterion(r"|w_f - w_i|")
def movement(evidence: Evidence) -> Tensor:
    """How far training moved it, in either direction."""
    return (evidence.final - evidence.initial).abs()


@criterion(
    r"\max(0, |w_f| \operatorname{sign} w_i \operatorname{sign} w_f)",
    opposite="large_final_diff_sign",
)
def large_final_same_sign(evidence: Evidence) -> Tensor:
    """Large where training ended, and never across zero."""
    return evidence.final.abs().where(same_sign(evidence), 0.0)


@criterion(
    r"\max(0, -|w_f| \operatorname{sign} w_i \operatorname{sign} w_f)",
    opposite="large_final_same_sign",
)
def large_final_diff_sign(evidence: Evidence) -> Tensor:
    """Large where training ended, across zero from where it began."""
    return evidence.final.abs().where(~same_sign(evidence), 0.0)


@criterion(r"|w_f| - |w_i| \text{ where the sign stayed, else } -\infty")
def magnitude_increase_same_sign(evidence: Evidence) -> Tensor:
    """What training made larger, and never across zero."""
    return magnitude_increase(evidence).where(same_sign(evidence), -torch.inf)


@criterion(r"|g\, w_i|")
def snip(evidence: Evidence) -> Tensor:
    """Connection sensitivity (Lee et al. 2019), g the gradient at initialisation."""
    return (evidence.gradient() * evidence.initial).abs()


@criterion(r"|g|")
def grad(evidence: Evidence) -> Tensor:
    """How steep the loss is at initialisation."""
    return evidence.gradient().abs()

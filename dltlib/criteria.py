"""Mask criteria: how much each weight deserves to stay (section 2 of the paper).

A criterion is a function from the history of one layer, over R replicas, to a score for each
weight; the highest scores are kept. To add one, write the function and decorate it, here or in a
module of your own: nothing else needs to know.

In an arm, ``NAME@K`` asks the criterion with the weights at iteration K of the dense training in
the place of w_i: ``movement@500`` is how far the rest of the training moved them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dltlib import randomness
from dltlib.history import History
from dltlib.registry import Registry

Score = Callable[[History], Float[Tensor, "replica *shape"]]


@dataclass(frozen=True)
class Criterion:
    """A named score.

    ``formula`` is its LaTeX. ``opposite`` names the criterion that prefers what this one prunes.
    """

    name: str
    score: Score
    formula: str
    opposite: str | None = None


CRITERIA: Registry[Criterion] = Registry("criterion")


def criterion(formula: str, opposite: str | None = None) -> Callable[[Score], Score]:
    """Register the decorated function under its own name; see `Criterion` for the arguments.

    >>> @criteria.criterion(r"|w_f|^2")
    ... def squared_for_this_example(history):
    ...     return history.final**2
    >>> experiments.plan("criteria", arms=["squared_for_this_example"]).arms
    ('squared_for_this_example/rewind/zero',)
    >>> del criteria.CRITERIA["squared_for_this_example"]
    """

    def register(score: Score) -> Score:
        CRITERIA.add(Criterion(score.__name__, score, formula, opposite))
        return score

    return register


def ranks(
    values: Float[Tensor, "replica *shape"], alive: Bool[Tensor, "replica *shape"]
) -> Float[Tensor, "replica *shape"]:
    """Rank of each living weight among the living of its layer, 0 the smallest; ties by position.

    What is not a number ranks lowest: a diverged weight must not pass for a large one. Pruned
    weights get -1.

    >>> criteria.ranks(history.initial, history.mask)
    tensor([[[ 1.,  0.,  2., -1.]]], dtype=torch.float64)
    """
    # float64 counts exactly to 2**53; float32 would merge ranks above 2**24.
    rank = torch.full(values.shape, -1.0, dtype=torch.float64, device=values.device).flatten(1)
    for ranked, value, living in zip(rank, values.flatten(1), alive.flatten(1), strict=True):
        positions = living.nonzero().squeeze(1)
        value = value[positions].masked_fill(value[positions].isnan(), -torch.inf)
        order = positions[value.argsort(stable=True)]
        ranked[order] = torch.arange(len(order), dtype=torch.float64, device=values.device)
    return rank.reshape(values.shape)


def same_sign(history: History) -> Bool[Tensor, "replica *shape"]:
    """Where training left the sign of the weight as it was drawn.

    >>> criteria.same_sign(history)
    tensor([[[ True, False,  True,  True]]])
    """
    return torch.signbit(history.initial) == torch.signbit(history.final)


@criterion(r"|w_f|", opposite="small_final")
def large_final(history: History) -> Float[Tensor, "replica *shape"]:
    """Large where training ended: the original lottery ticket.

    >>> criteria.large_final(history)
    tensor([[[3., 1., 3., 2.]]])
    """
    return history.final.abs()


@criterion(r"-|w_f|", opposite="large_final")
def small_final(history: History) -> Float[Tensor, "replica *shape"]:
    """Small where training ended.

    >>> criteria.small_final(history)
    tensor([[[-3., -1., -3., -2.]]])
    """
    return -history.final.abs()


@criterion(r"\mathrm{uniform}")
def random(history: History) -> Float[Tensor, "replica *shape"]:
    """Chance, as a baseline.

    >>> criteria.random(history).shape
    torch.Size([1, 1, 4])
    """
    layer, purpose = history.layer, "random criterion"
    return history.draw(
        lambda seed: torch.rand(
            layer.shape, generator=randomness.generator(seed, purpose, history.round, layer.name)
        )
    )


@criterion(r"|w_i|", opposite="small_init")
def large_init(history: History) -> Float[Tensor, "replica *shape"]:
    """Large before training.

    >>> criteria.large_init(history)
    tensor([[[1., 2., 3., 4.]]])
    """
    return history.initial.abs()


@criterion(r"-|w_i|", opposite="large_init")
def small_init(history: History) -> Float[Tensor, "replica *shape"]:
    """Small before training.

    >>> criteria.small_init(history)
    tensor([[[-1., -2., -3., -4.]]])
    """
    return -history.initial.abs()


@criterion(r"\min(\alpha |w_f|, |w_i|)", opposite="small_init_small_final")
def large_init_large_final(history: History) -> Float[Tensor, "replica *shape"]:
    """Large before and after training, both cut at the same share.

    >>> criteria.large_init_large_final(history)  # ranks; the pruned weight has none
    tensor([[[ 0.,  0.,  2., -1.]]], dtype=torch.float64)
    """
    # The alpha for which both thresholds cut the same share is what ranks give without solving
    # for it: a weight is among the best k of both exactly if its smaller rank is.
    return torch.minimum(
        ranks(history.final.abs(), history.mask), ranks(history.initial.abs(), history.mask)
    )


@criterion(r"-\max(\alpha |w_f|, |w_i|)", opposite="large_init_large_final")
def small_init_small_final(history: History) -> Float[Tensor, "replica *shape"]:
    """Small before and after training, both cut at the same share.

    >>> criteria.small_init_small_final(history)
    tensor([[[ 0.,  1.,  0., -1.]]], dtype=torch.float64)
    """
    return torch.minimum(
        ranks(-history.final.abs(), history.mask),
        ranks(-history.initial.abs(), history.mask),
    )


@criterion(r"|w_f| - |w_i|")
def magnitude_increase(history: History) -> Float[Tensor, "replica *shape"]:
    """What training made larger.

    >>> criteria.magnitude_increase(history)
    tensor([[[ 2., -1.,  0., -2.]]])
    """
    return history.final.abs() - history.initial.abs()


@criterion(r"|w_f - w_i|")
def movement(history: History) -> Float[Tensor, "replica *shape"]:
    """How far training moved it, in either direction.

    >>> criteria.movement(history)
    tensor([[[2., 3., 0., 2.]]])
    """
    return (history.final - history.initial).abs()


@criterion(
    r"\max(0, |w_f| \operatorname{sign} w_i \operatorname{sign} w_f)",
    opposite="large_final_diff_sign",
)
def large_final_same_sign(history: History) -> Float[Tensor, "replica *shape"]:
    """Large where training ended, and never across zero.

    >>> criteria.large_final_same_sign(history)
    tensor([[[3., 0., 3., 2.]]])
    """
    return history.final.abs().where(same_sign(history), 0.0)


@criterion(
    r"\max(0, -|w_f| \operatorname{sign} w_i \operatorname{sign} w_f)",
    opposite="large_final_same_sign",
)
def large_final_diff_sign(history: History) -> Float[Tensor, "replica *shape"]:
    """Large where training ended, across zero from where it began.

    >>> criteria.large_final_diff_sign(history)
    tensor([[[0., 1., 0., 0.]]])
    """
    return history.final.abs().where(~same_sign(history), 0.0)


@criterion(r"|w_f| - |w_i| \text{ where the sign stayed, else } -\infty")
def magnitude_increase_same_sign(history: History) -> Float[Tensor, "replica *shape"]:
    """What training made larger, and never across zero.

    >>> criteria.magnitude_increase_same_sign(history)
    tensor([[[ 2., -inf,  0., -2.]]])
    """
    return magnitude_increase(history).where(same_sign(history), -torch.inf)


@criterion(r"|g\, w_i|")
def snip(history: History) -> Float[Tensor, "replica *shape"]:
    """Connection sensitivity (Lee et al. 2019), g the gradient at initialisation.

    >>> criteria.snip(history)
    tensor([[[0.5000, 2.0000, 3.0000, 0.0000]]])
    """
    return (history.gradient() * history.initial).abs()


@criterion(r"|g|")
def grad(history: History) -> Float[Tensor, "replica *shape"]:
    """How steep the loss is at initialisation.

    >>> criteria.grad(history)
    tensor([[[0.5000, 1.0000, 1.0000, 0.0000]]])
    """
    return history.gradient().abs()

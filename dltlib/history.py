"""What criteria and actions look at: what became of the weights so far, one layer of R replicas.

A `Past` holds all layers of the replicas of a run; a `History` is one layer of some of them, and
the one argument of every criterion, mask-1 action and mask-0 action.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dltlib.errors import UserError
from dltlib.networks import Layer, Network

Weights = list[Float[Tensor, "replica ..."]]
Masks = list[Bool[Tensor, "replica ..."]]


def _no_gradient() -> Float[Tensor, "replica ..."]:
    raise UserError("nobody computed the gradient at initialisation that this criterion reads")


def split_iteration(name: str) -> tuple[str, int]:
    """``NAME@K`` into its name and its iteration of the dense training; 0 for a plain name.

    Raises `UserError` where something else than an iteration stands after the @.
    """
    base, late, iteration = name.partition("@")
    if late and not iteration.isdecimal():
        raise UserError(
            f"{name!r}: after @ stands an iteration of the dense training, as in {base}@500"
        )
    return base, int(iteration or 0)


def with_iteration(base: str, iteration: int) -> str:
    """``NAME@K`` of its parts, in the one form that names an arm: the plain name at iteration 0."""
    return f"{base}@{iteration}" if iteration else base


@dataclass(frozen=True)
class History:
    """One layer of R replicas when a pruning round begins.

    ``mask`` is, for a criterion, what was not pruned in earlier rounds; for an action, what is
    kept in this one. ``gradient`` computes that of the loss at w_i in the dense network.
    ``snapshots`` are the weights at the iterations of the dense training that an arm asked for.
    """

    layer: Layer
    seeds: Sequence[int]
    round: int
    initial: Float[Tensor, "replica *shape"]  # w_i
    final: Float[Tensor, "replica *shape"]  # w_f, of the training before
    mask: Bool[Tensor, "replica *shape"]
    gradient: Callable[[], Float[Tensor, "replica *shape"]] = _no_gradient
    snapshots: Mapping[int, Float[Tensor, "replica *shape"]] = field(default_factory=dict)

    def at(self, iteration: int) -> Float[Tensor, "replica *shape"]:
        """The weights at that iteration of the dense training; 0 is w_i.

        Raises `UserError` where nobody kept them.
        """
        if iteration == 0:
            return self.initial
        if iteration not in self.snapshots:
            raise UserError(f"no weights of iteration {iteration} were kept: name it in an arm")
        return self.snapshots[iteration]

    def since(self, iteration: int) -> "History":
        """The same with the weights at that iteration in the place of w_i."""
        return dataclasses.replace(self, initial=self.at(iteration))

    def draw(
        self, sample: Callable[[int], Float[Tensor, "*shape"]]
    ) -> Float[Tensor, "replica *shape"]:
        """What ``sample`` draws for each replica's seed, on the weights' device.

        It names its draw (`randomness.generator`) by seed, round, purpose and layer.
        """
        return torch.stack([sample(seed) for seed in self.seeds]).to(self.initial.device)


@dataclass(frozen=True)
class Past:
    """All layers of R replicas when a pruning round begins; see `History` for what they are."""

    network: Network
    seeds: Sequence[int]
    round: int
    initial: Weights
    final: Weights
    masks: Masks
    gradient: Callable[[], Weights]
    snapshots: Mapping[int, Weights] = field(default_factory=dict)

    def with_masks(self, masks: Masks) -> "Past":
        """The same with this round's masks, for the actions."""
        return dataclasses.replace(self, masks=masks)

    def layer(self, number: int, replicas: Sequence[int]) -> History:
        """The history of one layer of the replicas at these positions."""
        which = list(replicas)
        return History(
            layer=self.network.layers[number],
            seeds=[self.seeds[replica] for replica in which],
            round=self.round,
            initial=self.initial[number][which],
            final=self.final[number][which],
            mask=self.masks[number][which],
            gradient=lambda: self.gradient()[number][which],
            snapshots={at: weights[number][which] for at, weights in self.snapshots.items()},
        )

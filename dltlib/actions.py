"""Mask-1 and mask-0 actions: what kept and pruned weights start from (sections 3 and 4).

Actions work on one layer of one replica; ``names`` name their randomness. A new action is one
decorated function.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dltlib import networks, randomness
from dltlib.errors import UserError
from dltlib.networks import Layer

# (layer, w_i, mask, names) -> values of the layer's shape; only those under the mask are used.
Mask1Action = Callable[[Layer, Tensor, Tensor, tuple[object, ...]], Tensor]
MASK1_ACTIONS: dict[str, Mask1Action] = {}


def mask1_action(action: Mask1Action) -> Mask1Action:
    """Register the decorated function under its own name."""
    MASK1_ACTIONS[action.__name__] = action
    return action


def find_mask1(name: str) -> Mask1Action:
    """The mask-1 action of that name, or a `UserError` that lists them all."""
    if name not in MASK1_ACTIONS:
        raise UserError(f"unknown mask-1 action {name!r}: choose one of {', '.join(MASK1_ACTIONS)}")
    return MASK1_ACTIONS[name]


def signs(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """+1 or -1; zero counts as positive, so that a sign never makes a weight vanish."""
    return torch.where(torch.signbit(values), -1.0, 1.0)


def _permute(values: Float[Tensor, " n"], *names: object) -> Float[Tensor, " n"]:
    order = torch.randperm(values.numel(), generator=randomness.generator(*names))
    return values[order.to(values.device)]


@mask1_action
def rewind(layer: Layer, initial: Tensor, mask: Tensor, names: tuple) -> Tensor:
    """The weights start where they were drawn."""
    return initial


@mask1_action
def reinit(layer: Layer, initial: Tensor, mask: Tensor, names: tuple) -> Tensor:
    """New draws from the layer's original distribution."""
    return networks.draw(layer, *names, "reinit").to(initial.device)


@mask1_action
def reshuffle(layer: Layer, initial: Tensor, mask: Tensor, names: tuple) -> Tensor:
    """The kept initial values, permuted among the kept positions."""
    values = initial.clone()
    values[mask] = _permute(initial[mask], *names, "reshuffle", layer.name)
    return values


@mask1_action
def constant(layer: Layer, initial: Tensor, mask: Tensor, names: tuple) -> Tensor:
    """Plus or minus the initial standard deviation, the kept signs permuted."""
    values = signs(initial)
    values[mask] = _permute(values[mask], *names, "constant", layer.name)
    return values * layer.initial_deviation


@mask1_action
def signed_reinit(layer: Layer, initial: Tensor, mask: Tensor, names: tuple) -> Tensor:
    """New magnitudes from the original distribution, every sign as in w_i."""
    return reinit(layer, initial, mask, names).abs() * signs(initial)


@mask1_action
def signed_reshuffle(layer: Layer, initial: Tensor, mask: Tensor, names: tuple) -> Tensor:
    """The kept values permuted among the kept positions of their own sign.

    So both the signs and the values of the layer (as a multiset) stay what they were.
    """
    values = initial.clone()
    for sign, group in (("-", torch.signbit(initial)), ("+", ~torch.signbit(initial))):
        kept = mask & group
        values[kept] = _permute(initial[kept], *names, "signed_reshuffle", layer.name, sign)
    return values


@mask1_action
def signed_constant(layer: Layer, initial: Tensor, mask: Tensor, names: tuple) -> Tensor:
    """Plus or minus the initial standard deviation, every sign as in w_i."""
    return signs(initial) * layer.initial_deviation


def moved_towards_zero(
    initial: Float[Tensor, "*shape"], final: Float[Tensor, "*shape"]
) -> Bool[Tensor, "*shape"]:
    """Where training made a weight smaller: |w_f| < |w_i| (section 4)."""
    return final.abs() < initial.abs()


@dataclass(frozen=True)
class Mask0Action:
    """What becomes of pruned weights (frozen), and, for variant_2, of some kept ones.

    ``pruned`` gives the frozen values from (w_i, w_f). ``kept_to_zero``: kept weights that moved
    towards zero start from zero. ``own_mask``: the action decides the mask itself, from
    (w_i, w_f, mask), and the criterion is not asked.
    """

    name: str
    pruned: Callable[[Tensor, Tensor], Tensor]
    kept_to_zero: bool = False
    own_mask: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None


def _zero(initial: Tensor, final: Tensor) -> Tensor:
    return torch.zeros_like(initial)


def _initial(initial: Tensor, final: Tensor) -> Tensor:
    return initial


def _zero_if_it_shrank(initial: Tensor, final: Tensor) -> Tensor:
    # Also right in later rounds: a weight frozen at 0 still counts as shrunk, one frozen at w_i
    # as not.
    return initial.masked_fill(moved_towards_zero(initial, final), 0.0)


def _drop_what_shrank(initial: Tensor, final: Tensor, mask: Tensor) -> Tensor:
    return mask & ~moved_towards_zero(initial, final)


MASK0_ACTIONS: dict[str, Mask0Action] = {
    action.name: action
    for action in (
        Mask0Action("zero", _zero),
        Mask0Action("freeze_init", _initial),
        Mask0Action("variant_1", _zero_if_it_shrank),
        Mask0Action("variant_2", _zero_if_it_shrank, kept_to_zero=True),
        Mask0Action("move_to_zero", _zero, own_mask=_drop_what_shrank),
    )
}


def find_mask0(name: str) -> Mask0Action:
    """The mask-0 action of that name, or a `UserError` that lists them all."""
    if name not in MASK0_ACTIONS:
        raise UserError(f"unknown mask-0 action {name!r}: choose one of {', '.join(MASK0_ACTIONS)}")
    return MASK0_ACTIONS[name]


def start_values(
    layer: Layer,
    initial: Float[Tensor, "*shape"],
    final: Float[Tensor, "*shape"],
    mask: Bool[Tensor, "*shape"],
    mask1: str,
    mask0: str,
    names: tuple[object, ...],
) -> Float[Tensor, "*shape"]:
    """What one replica's layer starts the next training from (steps 2 and 3 of the algorithm).

    Weights under the mask will be trained; the others keep exactly the value given here.
    ``names`` (seed, round, ...) name the draws.
    """
    action = find_mask0(mask0)
    kept = find_mask1(mask1)(layer, initial, mask, names)
    if action.kept_to_zero:
        kept = kept.masked_fill(moved_towards_zero(initial, final), 0.0)
    return torch.where(mask, kept, action.pruned(initial, final))

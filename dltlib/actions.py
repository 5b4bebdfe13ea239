"""Mask-1 and mask-0 actions: what kept and pruned weights start from (sections 3 and 4).

An action is a function from the history of one layer, over R replicas, whose ``mask`` is what is
kept in this round, to a value for each weight. A new mask-1 action is one decorated function, a
new mask-0 action one `Mask0Action`, here or in a module of your own.

Late rewinding is an arm: after any mask-1 action, ``@K`` puts the weights at iteration K of the
dense training in the place of w_i, as in ``large_final/rewind@500/zero`` (Frankle et al. 2020).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dltlib import networks, randomness
from dltlib.history import History, split_iteration
from dltlib.registry import Registry

Values = Callable[[History], Float[Tensor, "replica *shape"]]
Choice = Callable[[History], Bool[Tensor, "replica *shape"]]


def signs(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """+1 or -1; zero counts as positive, so that a sign never makes a weight vanish.

    >>> actions.signs(torch.tensor([0.5, -0.5, 0.0]))
    tensor([ 1., -1.,  1.])
    """
    return torch.where(torch.signbit(values), -1.0, 1.0)


def moved_towards_zero(
    initial: Float[Tensor, "*shape"], final: Float[Tensor, "*shape"]
) -> Bool[Tensor, "*shape"]:
    """Where training made a weight smaller: ``|w_f| < |w_i|`` (section 4).

    >>> actions.moved_towards_zero(history.initial, history.final)
    tensor([[[False,  True, False,  True]]])
    """
    return final.abs() < initial.abs()


# --- mask-1 actions -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Mask1Action:
    """What kept weights start from: of ``values``, only those under the mask are used."""

    name: str
    values: Values


MASK1_ACTIONS: Registry[Mask1Action] = Registry("mask-1 action")


def mask1_action(values: Values) -> Values:
    """Register the decorated function under its own name.

    >>> @actions.mask1_action
    ... def halved(history):
    ...     return history.initial / 2
    >>> actions.start_values(history, "halved", "zero")
    tensor([[[ 0.5000, -1.0000,  1.5000,  0.0000]]])
    >>> del actions.MASK1_ACTIONS["halved"]
    """
    MASK1_ACTIONS.add(Mask1Action(values.__name__, values))
    return values


@mask1_action
def rewind(history: History) -> Float[Tensor, "replica *shape"]:
    """The weights start where they were drawn.

    >>> actions.rewind(history)
    tensor([[[ 1., -2.,  3., -4.]]])
    """
    return history.initial


@mask1_action
def reinit(history: History) -> Float[Tensor, "replica *shape"]:
    """New draws from the layer's original distribution.

    >>> drawn = actions.reinit(history)
    >>> drawn.shape, bool((drawn == history.initial).any())
    (torch.Size([1, 1, 4]), False)
    """
    return history.draw(lambda seed: networks.draw(history.layer, seed, history.round, "reinit"))


@mask1_action
def reshuffle(history: History) -> Float[Tensor, "replica *shape"]:
    """The kept initial values, permuted among the kept positions.

    >>> actions.reshuffle(history)[history.mask].sort().values
    tensor([-2.,  1.,  3.])
    """
    return _permute(history.initial, history.mask, history, "reshuffle")


@mask1_action
def constant(history: History) -> Float[Tensor, "replica *shape"]:
    """Plus or minus the initial standard deviation, the kept signs permuted.

    >>> bool((actions.constant(history).abs() == layer.initial_deviation).all())
    True
    """
    permuted = _permute(signs(history.initial), history.mask, history, "constant")
    return permuted * history.layer.initial_deviation


@mask1_action
def signed_reinit(history: History) -> Float[Tensor, "replica *shape"]:
    """New magnitudes from the original distribution, every sign as in w_i.

    >>> actions.signs(actions.signed_reinit(history))
    tensor([[[ 1., -1.,  1., -1.]]])
    """
    return reinit(history).abs() * signs(history.initial)


@mask1_action
def signed_reshuffle(history: History) -> Float[Tensor, "replica *shape"]:
    """The kept values permuted among the kept positions of their own sign.

    So both the signs and the values of the layer (as a multiset) stay what they were.

    >>> actions.signed_reshuffle(history)[history.mask].sign()
    tensor([ 1., -1.,  1.])
    """
    negative, values = torch.signbit(history.initial), history.initial
    for sign, having in (("-", negative), ("+", ~negative)):
        values = _permute(values, history.mask & having, history, "signed_reshuffle", sign)
    return values


@mask1_action
def signed_constant(history: History) -> Float[Tensor, "replica *shape"]:
    """Plus or minus the initial standard deviation, every sign as in w_i.

    >>> actions.signed_constant(history) / layer.initial_deviation
    tensor([[[ 1., -1.,  1., -1.]]])
    """
    return signs(history.initial) * history.layer.initial_deviation


def _permute(
    values: Float[Tensor, "replica *shape"],
    among: Bool[Tensor, "replica *shape"],
    history: History,
    purpose: str,
    *names: str,
) -> Float[Tensor, "replica *shape"]:
    """The values with those chosen by ``among`` permuted, each replica by a draw of its own."""
    result = values.clone()
    for permuted, value, chosen, seed in zip(result, values, among, history.seeds, strict=True):
        source = randomness.generator(seed, history.round, purpose, history.layer.name, *names)
        order = torch.randperm(int(chosen.sum()), generator=source)
        permuted[chosen] = value[chosen][order.to(values.device)]
    return result


# --- mask-0 actions -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Mask0Action:
    """What becomes of pruned weights (frozen), and, for variant_2, of some kept ones.

    ``pruned`` gives the frozen values. ``zeroed`` says which kept weights start from zero.
    ``kept`` decides the mask in the criterion's place; its history's mask is what was not pruned
    before. ``meaning`` says it in words.
    """

    name: str
    pruned: Values
    zeroed: Choice | None = None
    kept: Choice | None = None
    meaning: str = ""


MASK0_ACTIONS: Registry[Mask0Action] = Registry("mask-0 action")


def _shrunk(history: History) -> Bool[Tensor, "replica *shape"]:
    return moved_towards_zero(history.initial, history.final)


def _zero(history: History) -> Float[Tensor, "replica *shape"]:
    return torch.zeros_like(history.initial)


def _initial(history: History) -> Float[Tensor, "replica *shape"]:
    return history.initial


def _zero_if_it_shrank(history: History) -> Float[Tensor, "replica *shape"]:
    # Also right in later rounds: a weight frozen at 0 still counts as shrunk, one frozen at w_i
    # as not.
    return history.initial.masked_fill(_shrunk(history), 0.0)


def _what_did_not_shrink(history: History) -> Bool[Tensor, "replica *shape"]:
    return history.mask & ~_shrunk(history)


for _action in (
    Mask0Action("zero", _zero, meaning="Pruned weights are set to zero."),
    Mask0Action("freeze_init", _initial, meaning="They are frozen where they were drawn."),
    Mask0Action(
        "variant_1",
        _zero_if_it_shrank,
        meaning="Zero for those that training moved towards zero, else frozen where drawn.",
    ),
    Mask0Action(
        "variant_2",
        _zero_if_it_shrank,
        zeroed=_shrunk,
        meaning="The same, and kept weights that moved towards zero start from zero.",
    ),
    Mask0Action(
        "move_to_zero",
        _zero,
        kept=_what_did_not_shrink,
        meaning="Pruned, and set to zero, is what moved towards zero; no criterion is asked.",
    ),
):
    MASK0_ACTIONS.add(_action)


# --- both ---------------------------------------------------------------------------------------


def start_values(history: History, mask1: str, mask0: str) -> Float[Tensor, "replica *shape"]:
    """What a layer starts the next training from (steps 2 and 3 of the algorithm).

    Weights under the mask will be trained; the others keep exactly the value given here.

    >>> actions.start_values(history, "rewind", "zero")
    tensor([[[ 1., -2.,  3.,  0.]]])
    >>> actions.start_values(history, "rewind", "freeze_init")
    tensor([[[ 1., -2.,  3., -4.]]])
    """
    name, iteration = split_iteration(mask1)
    action = MASK0_ACTIONS.find(mask0)
    kept = MASK1_ACTIONS.find(name).values(history.since(iteration))
    if action.zeroed:
        kept = kept.masked_fill(action.zeroed(history), 0.0)
    return torch.where(history.mask, kept, action.pruned(history))

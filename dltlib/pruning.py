"""From scores to nested masks with exact counts (step 1 of the algorithm, section 1)."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dltlib.criteria import Criterion
from dltlib.errors import UserError
from dltlib.history import History


def kept_count(total: int, keep_fraction: float) -> int:
    """How many of ``total`` weights stay at a cumulative keep fraction, at least one.

    Rounded once from the product, so that 24 rounds do not add up 24 rounding errors.

    >>> pruning.kept_count(1_000, 0.8**2)
    640
    """
    if not 0 < keep_fraction <= 1:
        raise UserError(f"keep_fraction must lie in (0, 1], not {keep_fraction}")
    return max(1, round(total * keep_fraction))


def prune(
    scores: Float[Tensor, "replica *shape"], alive: Bool[Tensor, "replica *shape"], count: int
) -> Bool[Tensor, "replica *shape"]:
    """The mask of the ``count`` best-scoring living weights of each replica.

    A replica with fewer living weights than ``count`` keeps them all. Equal scores are resolved
    by position, the earlier weight staying; a score that is not a number loses to every number.
    The result is a subset of ``alive``.

    >>> pruning.prune(torch.tensor([[0.3, 0.9, 0.5]]), torch.tensor([[True, True, True]]), 2)
    tensor([[False,  True,  True]])
    """
    mask = torch.zeros_like(alive).flatten(1)
    # Only living weights are sorted: rounds get cheaper as tickets get smaller.
    for kept, score, living in zip(mask, scores.flatten(1), alive.flatten(1), strict=True):
        positions = living.nonzero().squeeze(1)
        score = score[positions]
        order = score.masked_fill(score.isnan(), -torch.inf).argsort(descending=True, stable=True)
        kept[positions[order[:count]]] = True
    return mask.reshape(alive.shape)


def next_mask(
    criterion: Criterion, history: History, keep_fraction: float
) -> Bool[Tensor, "replica *shape"]:
    """The mask of a layer's best-scoring weights, within the history's, at a cumulative share.

    >>> pruning.next_mask(criteria.CRITERIA["movement"], history, 0.5)
    tensor([[[ True,  True, False, False]]])
    """
    count = kept_count(history.layer.weight_count, keep_fraction)
    return prune(criterion.score(history), history.mask, count)

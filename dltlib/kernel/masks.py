"""Learning masks on a CPU: all that is not a matrix product or a convolution, in compiled passes.

`supermasks` defines what an update is. For each layer it takes two passes over the weights, one
that draws the mask and writes the masked weights, one that takes the gradient to momentum and
score; between them stands the dense arithmetic, by stock torch, one replica in one thread.

Two things make it cheap. A pass leaves behind only what the next ones read: draws and hashes never
exist as arrays, and what a gradient is to be multiplied by is worked out where the probability is
at hand. And a pixel that is dark in the whole batch (three in ten of MNIST's are) is left out of
the first layer's products: its weights meet only zeros and have no gradient, though they count in
the mask, and their momentum still moves their scores.

What the passes compute has the same bits on any processor: elements are treated one by one, in
IEEE operations whose order the code fixes, none of them fused, so that it does not matter how many
of them a vector holds. (Keep it so: no ``fastmath``, no `numpy.exp`. The logarithm in the loss,
which is only reported, is the C library's.)
"""

from collections.abc import Callable, Sequence
from math import factorial, log
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int32, Int64
from torch import Tensor

from dltlib import networks
from dltlib.datasets import Split
from dltlib.kernel.intrinsics import compiled
from dltlib.networks import Network

# --- one element ------------------------------------------------------------------------------

# Numba widens integers to 64 bits and would then use the wrong vectors: hence the many `U32`.
U32, F32 = np.uint32, np.float32
ZERO, ONE = F32(0), F32(1)
HASH1, HASH2 = U32(0x7FEB352D), U32(0x846CA68B)
ONE_BITS = ONE.view(U32)
SHIFT8, SHIFT15, SHIFT16, SHIFT23 = U32(8), U32(15), U32(16), U32(23)
DRAW = F32(2.0**-24)
FARTHEST = F32(88)  # e to this power is a float32
LOG2E = F32(1 / log(2))
LN2_HIGH = F32(0.693359375)  # nine bits, so that its products with small integers are exact
LN2_LOW = F32(log(2) - 0.693359375)
ROUND = F32(1.5 * 2**23)  # a float32 this large has no fraction: adding it rounds
BRIGHTNESS = np.arange(256, dtype=F32) / F32(255)  # of each of a pixel's values
C2, C3, C4, C5, C6, C7 = (F32(1 / factorial(k)) for k in range(2, 8))


@compiled
def _mix(bits: int) -> int:
    """The hash of `randomness.uniform_at`, on unsigned integers."""
    bits = U32(bits ^ U32(bits >> SHIFT16))
    bits = U32(bits * HASH1)
    bits = U32(bits ^ U32(bits >> SHIFT15))
    bits = U32(bits * HASH2)
    return U32(bits ^ U32(bits >> SHIFT16))


@compiled
def _exp(x: float) -> float:
    """e to the power x, x between -88 and 88: 2^k times Taylor's series for the rest.

    Off by little more than a unit in the last place. What is not a number stays so.
    """
    x = FARTHEST if x > FARTHEST else x
    x = -FARTHEST if x < -FARTHEST else x
    rounded = F32(x * LOG2E + ROUND)
    k = rounded - ROUND
    rest = x - k * LN2_HIGH - k * LN2_LOW  # at most ln(2) / 2, where the eighth term is 5e-9
    square = rest * rest
    # In pairs, so that few of them wait for one another; the largest is added last.
    high = C4 + rest * C5 + square * (C6 + rest * C7)
    series = ONE + (rest + square * (C2 + rest * C3 + square * high))
    # The low bits of `rounded` are k's: shifted into a float's exponent, they make 2^k.
    power = U32(U32(F32(rounded).view(U32) << SHIFT23) + ONE_BITS)
    return series * U32(power).view(F32)


@compiled
def _sigmoid(score: float) -> float:
    return ONE / (ONE + _exp(-score))


@compiled
def _kept(key: int, mixed_step: int, share: float) -> bool:
    """Whether `randomness.uniform_at` draws less than ``share``."""
    bits = _mix(U32(key ^ mixed_step))
    return F32(np.int32(U32(bits >> SHIFT8))) * DRAW < share


# --- passes -----------------------------------------------------------------------------------


@compiled
def _draw(keys: np.ndarray, scores: np.ndarray, step: int, mask: np.ndarray) -> None:
    mixed = _mix(U32(step))
    for i in range(mask.size):
        mask[i] = _kept(keys[i], mixed, _sigmoid(scores[i]))


@compiled
def _stage(
    images: np.ndarray, members: np.ndarray, brightness: np.ndarray, batch: np.ndarray
) -> tuple[np.ndarray, int]:
    """Gather images as numbers, dark pixels left out: ``batch`` is ``[image, lit pixel]``, flat.

    Returns the runs of neighbouring pixels that are lit or dark (see `_sample`), and how many
    pixels are lit.
    """
    pixels = images.shape[1]
    seen = np.zeros(pixels, np.uint8)
    for member in members:
        image = images[member]
        for pixel in range(seen.size):
            seen[pixel] |= image[pixel]
    lit = np.flatnonzero(seen).astype(U32)
    for index in range(members.size):
        image = images[members[index]]
        target = batch[index * lit.size : (index + 1) * lit.size]
        for pixel in range(target.size):
            target[pixel] = brightness[image[lit[pixel]]]
    runs = np.empty((pixels, 3), np.int64)
    count = start = among_lit = 0
    while start < pixels:
        stop = start + 1
        while stop < pixels and (seen[stop] > 0) == (seen[start] > 0):
            stop += 1
        runs[count] = start, stop, (among_lit if seen[start] else -1)
        among_lit += stop - start if seen[start] else 0
        count += 1
        start = stop
    return runs[:count], lit.size


class MaskedLayer(NamedTuple):
    """One layer of one replica: what `supermasks.Learner` holds of it, without the replica axis.

    Contiguous, float32; ``scores`` and ``momentum`` are changed in place.
    """

    keys: Int32[Tensor, "*shape"]
    values: Float[Tensor, "*shape"]
    scores: Float[Tensor, "*shape"]
    momentum: Float[Tensor, "*shape"]


class Rule(NamedTuple):
    """How one replica learns: see `supermasks.Learner`."""

    rescaled: bool
    identity: bool
    momentum: float
    rate: float


class _Flat(NamedTuple):
    """Of one layer, without shape: what `MaskedLayer` holds, and the slope of each score for a
    gradient of one, rescaling left out."""

    keys: np.ndarray
    values: np.ndarray
    scores: np.ndarray
    momentum: np.ndarray
    slopes: np.ndarray


@compiled
def _sample(layer: _Flat, rule: Rule, step: int, runs: np.ndarray, weights: np.ndarray) -> float:
    """Draw the masks of a step and write the masked weights; returns what they were rescaled by.

    Each of ``runs`` says at which row it starts and stops, and at which row of ``weights`` it
    begins; a run below zero stands in the mask but not in ``weights``.
    """
    keys, values, scores, _, slopes = layer
    identity = rule.identity
    columns = weights.shape[1]
    flat = weights.reshape(-1)
    mixed = _mix(U32(step))
    ones = used = 0
    for start, stop, among_lit in runs:
        here = slice(start * columns, stop * columns)
        run_keys, run_scores, run_values = keys[here], scores[here], values[here]
        count = np.int32(0)
        if among_lit < 0:
            for i in range(run_scores.size):
                kept = _kept(run_keys[i], mixed, _sigmoid(run_scores[i]))
                count = np.int32(count + np.int32(kept))
        else:
            target, slope = (
                flat[among_lit * columns : (among_lit + stop - start) * columns],
                slopes[here],
            )
            for i in range(target.size):
                share, value = _sigmoid(run_scores[i]), run_values[i]
                kept = _kept(run_keys[i], mixed, share)
                target[i] = value if kept else ZERO
                slope[i] = value if identity else value * (share * (ONE - share))
                count = np.int32(count + np.int32(kept))
            used += target.size
        ones += count
    if not rule.rescaled or ones == 0:
        return ONE
    factor = F32(scores.size) * (ONE / F32(ones))  # rounded as `supermasks.rescaling` is by torch
    written = flat[:used]
    for i in range(written.size):
        written[i] *= factor
    return factor


@compiled
def _update(
    layer: _Flat, rule: Rule, gradients: np.ndarray, factor: float, runs: np.ndarray
) -> None:
    """Momentum and scores after the gradients of the weights that `_sample` wrote."""
    _, _, scores, momentum, slopes = layer
    keep, rate = F32(rule.momentum), F32(rule.rate)
    columns = gradients.shape[1]
    flat = gradients.reshape(-1)
    for start, stop, among_lit in runs:
        here = slice(start * columns, stop * columns)
        run_scores, run_momentum, slope = scores[here], momentum[here], slopes[here]
        if among_lit < 0:
            for i in range(run_scores.size):
                run_momentum[i] = run_momentum[i] * keep
                run_scores[i] -= rate * run_momentum[i]
        else:
            gradient = flat[among_lit * columns : (among_lit + stop - start) * columns]
            for i in range(run_scores.size):
                run_momentum[i] = run_momentum[i] * keep + gradient[i] * factor * slope[i]
                run_scores[i] -= rate * run_momentum[i]


@compiled
def _cross_entropy(
    logits: np.ndarray, labels: np.ndarray, members: np.ndarray, errors: np.ndarray
) -> float:
    """Mean loss over the batch; leaves its gradient in ``errors``."""
    share = F32(1) / F32(members.size)
    total = 0.0
    for index in range(members.size):
        logit, error, label = logits[index], errors[index], labels[members[index]]
        highest = logit.max()
        mass = ZERO
        for unit in range(logit.size):
            error[unit] = _exp(logit[unit] - highest)
            mass += error[unit]
        scale = share / mass
        for unit in range(logit.size):
            error[unit] *= scale
        error[label] -= share
        total += log(mass) + (highest - logit[label])
    return total / members.size


@compiled
def _rectify(errors: np.ndarray, activity: np.ndarray) -> None:
    """Let errors through where the unit was active; what is not a number stays so."""
    for i in range(errors.size):
        errors[i] = ZERO if activity[i] <= ZERO else errors[i]


# --- one replica ------------------------------------------------------------------------------

REPORTED = 20  # updates between two calls of `progress`


def draw(
    keys: Int32[Tensor, "*shape"], scores: Float[Tensor, "*shape"], step: int
) -> Bool[Tensor, "*shape"]:
    """The mask of that step: ``uniform_at(keys, step) < sigmoid(scores)``."""
    mask = torch.empty(scores.shape, dtype=torch.bool)
    flat_keys, flat_scores, flat_mask = (part.view(-1).numpy() for part in (keys, scores, mask))
    _draw(flat_keys.view(U32), flat_scores, _unsigned(step), flat_mask)
    return mask


def learn(
    network: Network,
    layers: Sequence[MaskedLayer],
    split: Split,
    batches: Int64[Tensor, "iterations batch"],
    step: int,
    rule: Rule,
    progress: Callable[[int], None] | None = None,
) -> float:
    """One update of one replica for each row of ``batches``; returns the sum of their losses.

    ``step`` is the number of the first. ``progress`` is called with the number of updates since its
    last call, once in a while. Raises ValueError for labels out of range (the passes do not look).
    """
    if not (split.labels.min() >= 0 and split.labels.max() < network.classes):
        raise ValueError(f"labels must lie between 0 and {network.classes - 1}")
    at_work = [_Layer(layer, rule) for layer in layers]
    if network.channels:
        differentiate = _by_autograd(network, at_work, split)
    else:
        differentiate = _by_products(at_work, split, batches.shape[1])
    loss, reported = 0.0, 0
    for index, members in enumerate(batches, 1):
        loss += differentiate(members, step + index - 1)
        for layer in at_work:
            layer.update()
        if progress and (index % REPORTED == 0 or index == len(batches)):
            progress(index - reported)
            reported = index
    return loss


class _Layer:
    """A layer while it learns: what the learner holds, flat, and what comes and goes beside it."""

    def __init__(self, layer: MaskedLayer, rule: Rule) -> None:
        keys, values, scores, momentum = (part.view(-1).numpy() for part in layer)
        self.flat = _Flat(keys.view(U32), values, scores, momentum, np.empty_like(values))
        self.rule = rule
        rows = len(layer.values)
        self.runs = np.array([[0, rows, 0]])
        # Allocated by torch, which aligns: a product's bits can depend on that.
        self.weights, self.gradients = (torch.empty_like(layer.values).flatten(1) for _ in range(2))
        self.factor = ONE

    def sample(self, step: int) -> None:
        """Write the masked weights of that step, rescaled where asked for."""
        weights = self.weights.numpy()
        self.factor = _sample(self.flat, self.rule, _unsigned(step), self.runs, weights)

    def update(self) -> None:
        """Let ``gradients`` move momentum and scores."""
        # Straight through to sigma(m), the rescaling is part of the way; straight to m, it is not.
        factor = ONE if self.rule.identity else self.factor
        _update(self.flat, self.rule, self.gradients.numpy(), factor, self.runs)


def _by_products(
    layers: Sequence[_Layer], split: Split, batch_size: int
) -> Callable[[Tensor, int], float]:
    """A fully connected network's loss and gradients by matrix products on buffers that stay."""
    images = np.ascontiguousarray(split.images.flatten(1).numpy())
    labels = np.ascontiguousarray(split.labels.numpy())
    first, last = layers[0], layers[-1]
    staged = torch.empty(batch_size * images.shape[1])
    activity, errors = (
        [torch.empty(batch_size, layer.weights.shape[1]) for layer in layers] for _ in range(2)
    )

    def differentiate(members: Tensor, step: int) -> float:
        rows = members.numpy()
        first.runs, lit = _stage(images, rows, BRIGHTNESS, staged.numpy())
        inputs = staged[: batch_size * lit].view(batch_size, lit)
        sources = [inputs, *activity[:-1]]
        for layer, source, target in zip(layers, sources, activity, strict=True):
            layer.sample(step)
            torch.mm(source, layer.weights[: source.shape[1]], out=target)
            if layer is not last:
                target.relu_()
        loss = _cross_entropy(activity[-1].numpy(), labels, rows, errors[-1].numpy())
        for index in reversed(range(len(layers))):
            layer, source, error = layers[index], sources[index], errors[index]
            torch.mm(source.T, error, out=layer.gradients[: source.shape[1]])
            if index:
                torch.mm(error, layer.weights.T, out=errors[index - 1])
                _rectify(errors[index - 1].view(-1).numpy(), source.view(-1).numpy())
        return loss

    return differentiate


def _by_autograd(
    network: Network, layers: Sequence[_Layer], split: Split
) -> Callable[[Tensor, int], float]:
    """Any network's loss and gradients, as everywhere else: its convolutions are what costs."""
    biases = networks.initial_biases(network, 1)

    def differentiate(members: Tensor, step: int) -> float:
        for layer in layers:
            layer.sample(step)
        weights = [
            layer.weights.view(1, *described.shape).detach().requires_grad_()
            for layer, described in zip(layers, network.layers, strict=True)
        ]
        images, labels = split.images[members].float().div(255), split.labels[members]
        with torch.enable_grad():
            logits = networks.forward(network, weights, biases, images[None])
            loss = networks.cross_entropy(logits, labels[None])
            gradients = torch.autograd.grad(loss, weights)
        for layer, gradient in zip(layers, gradients, strict=True):
            layer.gradients = gradient[0].flatten(1).contiguous()
        return loss.item()

    return differentiate


def _unsigned(step: int) -> int:
    """Its 32 bits: steps below zero have masks too."""
    return U32(step & 0xFFFFFFFF)

"""Masks that make an untrained network classify (section 5 of the paper).

The weights never change: they are w_i, or signed constants. A mask comes from a criterion (train
once, score, keep the best share), or is learned: a real score m for each weight, of which every
forward pass samples a Bernoulli mask with probability sigmoid(m), the gradient going straight
through the sample. Dynamic weight rescaling multiplies a layer by (weights) / (ones in its mask).

Straight through to what? The specification's masks, ``learned``, take the sample's gradient for
that of sigmoid(m), and then multiply by the sigmoid's slope. ``learned_identity`` takes it for that
of m itself, as though the weight were w_i m: Bengio, Leonard and Courville (2013) describe both.
"""

import itertools
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Float64, Int64, Shaped
from torch import Tensor

from dltlib import actions, catalogue, networks, parallel, randomness, training
from dltlib.datasets import Dataset, Split
from dltlib.errors import UserError
from dltlib.history import Masks, Weights
from dltlib.networks import Layer, Network
from dltlib.settings import Settings

MOMENTUM = 0.9


def base_values(
    layer: Layer, initial: Float[Tensor, "replica *shape"], values: str
) -> Float[Tensor, "replica *shape"]:
    """What the mask lies over: ``initial``, w_i, or ``constant``, "S.C.": sign(w_i) times alpha.

    >>> supermasks.base_values(layer, history.initial, "constant") / layer.initial_deviation
    tensor([[[ 1., -1.,  1., -1.]]])
    """
    if values == "initial":
        return initial
    return actions.signs(initial) * layer.initial_deviation


def rescaling(
    mask: Float[Tensor, "replica *shape"] | Bool[Tensor, "replica *shape"],
) -> Float[Tensor, " replica"]:
    """(number of weights) / (number of ones in the mask) of each replica's layer.

    An empty mask gets 1: there is nothing to scale.

    >>> supermasks.rescaling(history.mask)
    tensor([1.3333])
    """
    ones = mask.flatten(1).sum(1, dtype=torch.float32)
    return torch.where(ones > 0, mask[0].numel() / ones.clamp(min=1), 1.0)


def apply_masks(values: Weights, masks: Masks, rescaled: Bool[Tensor, " replica"]) -> Weights:
    """The masked weights of each replica, rescaled where asked for.

    >>> supermasks.apply_masks([history.initial], [history.mask], rescaled=torch.tensor([True]))
    [tensor([[[ 1.3333, -2.6667,  4.0000, -0.0000]]])]
    """
    return [
        value * mask * _column(torch.where(rescaled, rescaling(mask), 1.0), value)
        for value, mask in zip(values, masks, strict=True)
    ]


def accuracy(network: Network, weights: Weights, split: Split) -> Float64[Tensor, " replica"]:
    """Share of right answers of the masked, untrained networks (their biases are zero).

    >>> supermasks.accuracy(network, weights, digits.test).shape
    torch.Size([2])
    """
    biases = networks.initial_biases(network, len(weights[0]), weights[0].device)
    biases = [bias.to(weights[0].dtype) for bias in biases]
    if training.evaluates_sparsely(network, weights):
        kept = [weight != 0 for weight in weights]
        step = training.kernel_step(network, weights, biases, kept, Settings(1, 1.0))
        return step.correct(split.images, split.labels).double() / len(split)
    return training.evaluate(network, weights, biases, split.images, split.labels)


class _Captured(NamedTuple):
    """An update captured as a graph, what it was captured with, and the sum of losses it keeps."""

    seen: list[Tensor]
    settings: Settings
    update: Callable[[Tensor, int], object]
    loss: Float64[Tensor, " replica"]

    def fits(self, seen: list[Tensor], settings: Settings) -> bool:
        """Whether it still does what is asked for: the same memory, the same settings."""
        return settings == self.settings and all(map(operator.is_, seen, self.seen))


@dataclass
class Learner:
    """R replicas' mask scores and momentum, learned side by side. Everything is ``[replica, ...]``.

    ``values`` are the frozen weights, ``rescaled`` says which replicas use dynamic weight
    rescaling, ``identity`` which take the gradient straight through to m, ``seeds`` names their
    randomness, and ``rates`` are SGD's, the settings' ``learning_rate`` for all if left out.
    ``step`` counts the updates so far; with ``scores`` and ``momentum`` it is all that a
    checkpoint needs, since a sampled mask is a function of (seed, layer, weight, step) alone.
    """

    network: Network
    values: Weights
    rescaled: Bool[Tensor, " replica"]
    seeds: Sequence[int]
    scores: Weights
    momentum: Weights
    identity: Bool[Tensor, " replica"]
    rates: Sequence[float] | None = None
    step: int = 0

    @classmethod
    def start(
        cls,
        network: Network,
        values: Weights,
        rescaled: Bool[Tensor, " replica"],
        seeds: Sequence[int],
        identity: Bool[Tensor, " replica"] | None = None,
        rates: Sequence[float] | None = None,
    ) -> "Learner":
        """Scores at 0: every weight is kept with probability one half."""
        scores, momentum = ([torch.zeros_like(value) for value in values] for _ in range(2))
        if identity is None:
            identity = torch.zeros_like(rescaled)
        return cls(network, values, rescaled, seeds, scores, momentum, identity, rates)

    @classmethod
    def of_variants(
        cls,
        network: Network,
        variants: Sequence[tuple[str, ...]],
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
        rates: Sequence[float] | None = None,
    ) -> "Learner":
        """One replica, not yet learned, for each (source, values, scaling), seed and rate of SGD.

        Sources are of `catalogue.LEARNED_SOURCES`, values of
        `catalogue.MASK_VALUES`, scaling of `catalogue.MASK_SCALINGS`; others raise
        `UserError`.
        """
        choices: list[tuple[str, ...]] = [
            catalogue.LEARNED_SOURCES, catalogue.MASK_VALUES, catalogue.MASK_SCALINGS,
        ]  # fmt: skip
        for variant in variants:
            if tuple(variant) not in itertools.product(*choices):
                raise UserError(
                    f"no learned supermask {'/'.join(variant)}: it is source/values/scaling, each "
                    f"one of {'; '.join(map(', '.join, choices))}"
                )
        initial = networks.initial_weights(network, seeds, device)
        frozen = [
            torch.stack(
                [
                    base_values(layer, drawn, values)
                    for drawn, (_, values, _) in zip(weight, variants, strict=True)
                ]
            )
            for layer, weight in zip(network.layers, initial, strict=True)
        ]
        rescaled, identity = (
            torch.tensor(choice, device=device)
            for choice in (
                [scaling == "rescaled" for *_, scaling in variants],
                [source == "learned_identity" for source, *_ in variants],
            )
        )
        return cls.start(network, frozen, rescaled, seeds, identity, rates)

    def __post_init__(self) -> None:
        device = self.values[0].device
        self.keys = [
            torch.stack(
                [randomness.stream(layer.shape, seed, "mask", layer.name) for seed in self.seeds]
            ).to(device)
            for layer in self.network.layers
        ]
        self.biases = networks.initial_biases(self.network, len(self.seeds), device)
        if device.type == "cuda":
            self.lay_out()
        if self.rates is not None:
            self._rates = torch.tensor(self.rates, dtype=self.values[0].dtype, device=device)
        self._captured: _Captured | None = None

    def lay_out(self) -> None:
        """Store everything as a GPU's convolutions use it (see `networks.as_used`)."""
        for name in ("values", "scores", "momentum", "keys"):
            setattr(self, name, [networks.as_used(part) for part in getattr(self, name)])

    def probabilities(self) -> Weights:
        """sigma(m) of every weight."""
        return [score.sigmoid() for score in self.scores]

    def sample(self, step: int | Tensor, group: slice = slice(None)) -> Masks:
        """The masks of that step, a Bernoulli draw for each weight, of a ``group`` of replicas."""
        if self.values[0].is_cuda:
            return self._sample(step, group)
        from dltlib.kernel import masks as passes  # compiles; whoever has a GPU never needs it

        return [
            passes.draw(key[group], score[group], int(step))
            for key, score in zip(self.keys, self.scores, strict=True)
        ]

    def _sample(self, step: int | Tensor, group: slice = slice(None)) -> Masks:
        """The same by torch's operations: ``step`` may be a tensor in a captured graph."""
        step = torch.as_tensor(step, dtype=torch.int32, device=self.values[0].device)
        return [
            randomness.uniform_at(key[group], step) < score[group].sigmoid()
            for key, score in zip(self.keys, self.scores, strict=True)
        ]

    def likely(self) -> Masks:
        """The masks that keep each weight whose probability is at least one half."""
        return [score >= 0 for score in self.scores]

    def learn(
        self,
        dataset: Dataset,
        settings: Settings,
        epoch: int,
        progress: Callable[[int], None] | None = None,
    ) -> Float64[Tensor, " replica"]:
        """One epoch of SGD with momentum on the scores; returns the mean loss over it.

        ``progress`` is called with the number of replica-iterations done since its last call, on a
        CPU from several threads.
        """
        length = training.iterations_per_epoch(dataset, settings)
        orders = {
            seed: training.data_order(seed, epoch, len(dataset.train)) for seed in set(self.seeds)
        }
        rows = torch.stack([orders[seed][: length * settings.batch_size] for seed in self.seeds])
        batches = rows.reshape(len(self.seeds), length, settings.batch_size)
        advance = self._advance_together if self.values[0].is_cuda else self._advance_one_by_one
        loss = advance(dataset.train, batches, settings, progress)
        self.step += length
        return loss / length

    def _advance_one_by_one(
        self,
        split: Split,
        batches: Int64[Tensor, "replica iterations batch"],
        settings: Settings,
        progress: Callable[[int], None] | None,
    ) -> Float64[Tensor, " replica"]:
        """An update for each batch, a replica a thread; returns the sum of their losses."""
        from dltlib.kernel import masks as passes  # compiles; whoever has a GPU never needs it

        loss = torch.zeros(len(self.seeds), dtype=torch.float64)

        def work(replica: int) -> None:
            layers = [
                passes.MaskedLayer(*(part[replica] for part in parts))
                for parts in zip(self.keys, self.values, self.scores, self.momentum, strict=True)
            ]
            rule = passes.Rule(
                rescaled=bool(self.rescaled[replica]),
                identity=bool(self.identity[replica]),
                momentum=MOMENTUM,
                rate=self.rates[replica] if self.rates else settings.learning_rate,
            )
            loss[replica] = passes.learn(
                self.network, layers, split, batches[replica], self.step, rule, progress
            )

        parallel.spread(work, range(len(self.seeds)))
        return loss

    def _advance_together(
        self,
        split: Split,
        batches: Int64[Tensor, "replica iterations batch"],
        settings: Settings,
        progress: Callable[[int], None] | None = None,
    ) -> Float64[Tensor, " replica"]:
        """The same with all replicas in one captured graph, which is kept from epoch to epoch."""
        batches = batches.to(self.values[0].device)
        # What a graph has seen it goes on using: if any of this is another, it is captured anew.
        seen = [split.images, split.labels, *self.values, *self.scores, *self.momentum]
        if self._captured is None or not self._captured.fits(seen, settings):
            loss = torch.zeros(len(self.seeds), dtype=torch.float64, device=batches.device)

            def iterate(members: Tensor, step: int | Tensor) -> None:
                loss.add_(self._update(split, members, step, settings))

            step = torch.zeros((), dtype=torch.int32, device=batches.device)
            update = parallel.repeatable(
                iterate, (batches[:, 0], step), changes=[*self.scores, *self.momentum, loss]
            )
            self._captured = _Captured(seen, settings, update, loss)
        self._captured.loss.zero_()
        for index in range(batches.shape[1]):
            self._captured.update(batches[:, index], self.step + index)
        if progress:
            progress(batches.shape[0] * batches.shape[1])
        return self._captured.loss.clone()

    @torch.no_grad()
    def _update(
        self,
        split: Split,
        members: Int64[Tensor, "replica batch"],
        step: int | Tensor,
        settings: Settings,
    ) -> Float64[Tensor, " replica"]:
        """One step of all replicas by torch's operations; returns their losses."""
        images, labels = split.images[members].float().div(255), split.labels[members]
        masks = self._sample(step)
        factors = [
            value * _column(torch.where(self.rescaled, rescaling(mask), 1.0), value)
            for value, mask in zip(self.values, masks, strict=True)
        ]
        weights = [factor * mask for factor, mask in zip(factors, masks, strict=True)]
        with torch.enable_grad(), training.precision_of(settings.precision, images.device):
            for weight in weights:
                weight.requires_grad_()
            logits = networks.forward(self.network, weights, self.biases, images)
            losses = networks.cross_entropy(logits.float(), labels)
            gradients = torch.autograd.grad(losses.sum(), weights)
        for score, velocity, gradient, value, factor in zip(
            self.scores, self.momentum, gradients, self.values, factors, strict=True
        ):
            # Straight through the sample: d w' / d sigma(m) = value * factor, then the sigmoid's
            # own slope; the rescaling factor counts as a constant. Or the identity: value alone.
            probability = score.sigmoid()
            slope = torch.where(
                _column(self.identity, value),
                gradient * value,
                gradient * factor * probability * (1 - probability),
            )
            velocity.mul_(MOMENTUM).add_(slope)
            rate = settings.learning_rate if self.rates is None else _column(self._rates, velocity)
            score.sub_(velocity * rate)
        return losses.detach().double()

    def accuracy(
        self,
        split: Split,
        progress: Callable[[int], None] | None = None,
        masks: int = catalogue.SAMPLED_MASKS,
    ) -> Float64[Tensor, " replica"]:
        """Mean share of right answers over so many sampled masks (section 5).

        They are those of steps -1, -2, ...: never seen in learning, the same for each split.
        ``progress`` is called with the number of masks tested since its last call, on a CPU from
        several threads.
        """
        share = torch.zeros(len(self.seeds), dtype=torch.float64, device=self.values[0].device)

        def work(group: slice) -> None:
            values = [value[group] for value in self.values]
            for draw in range(masks):
                sampled = self.sample(-1 - draw, group)
                weights = apply_masks(values, sampled, self.rescaled[group])
                share[group] += accuracy(self.network, weights, split) / masks
                if progress:
                    progress(len(weights[0]))

        parallel.spread(work, parallel.groups(len(self.seeds), share.device))
        return share


def _column(factor: Shaped[Tensor, " replica"], like: Tensor) -> Shaped[Tensor, "replica ..."]:
    """Shaped to multiply a tensor with a leading replica axis."""
    return factor.view(-1, *[1] * (like.ndim - 1))

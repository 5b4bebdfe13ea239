"""A plan: one experiment on one network, to the last option, as a plain value.

The paper's own, preset ``paper``, are its section 2 to the letter.

`experiments.plan` makes plans from presets; what a plan needs to run stands in `runs`.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, NamedTuple, get_args

from dltlib import catalogue
from dltlib.errors import UserError
from dltlib.settings import Settings


class Replica(NamedTuple):
    """One arm with one seed: one network being trained."""

    arm: str
    seed: int


def _option(meaning: str, default: Any = dataclasses.MISSING) -> Any:
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True)
class Plan:
    """One experiment on one network, to the last option. Bad values raise `UserError` at once."""

    experiment: str
    network: str
    preset: str
    dataset: str = _option(f"data set: {', '.join(catalogue.DATASETS)}")
    arms: tuple[str, ...]  # type: ignore[misc]  # the options before it have no default either
    seeds: int = _option("number of seeds, from 0")
    rounds: int = _option("pruning rounds after the dense training")
    epochs: int = _option("epochs of each training")
    learning_rate: float = _option("of Adam; for learned masks, of SGD")
    keep_conv: float = _option("share of weights kept each round in convolutions")
    keep_dense: float = _option("share of weights kept each round in dense layers")
    keep_output: float = _option("share of weights kept each round in the output layer")
    batch_size: int = _option("images a batch", 60)
    evaluate_every: int = _option("iterations between evaluations on the validation split", 100)
    width: float = _option("multiplies all hidden sizes of the network", 1.0)
    train_images: int | None = _option("use only so many training images", None)
    precision: str = _option("of matrix products on a GPU: fp32, tf32 or bf16", "fp32")
    rescaled_rate: float | None = _option(
        "of SGD, for learned masks with dynamic weight rescaling, if it is another", None
    )
    interim_masks: int = _option(
        f"masks a learned mask is tested by on the way (at its end: {catalogue.SAMPLED_MASKS})",
        catalogue.SAMPLED_MASKS,
    )

    def __post_init__(self) -> None:
        catalogue.EXPERIMENTS.find(self.experiment)
        catalogue.DATASETS.find(self.dataset)
        catalogue.NETWORKS.find(self.network)
        if self.seeds < 1:
            raise UserError(f"seeds must be at least 1, not {self.seeds}")
        if self.rounds < 0:
            raise UserError(f"rounds must not be negative, as {self.rounds} is")
        if self.train_images is not None and self.train_images < 1:
            raise UserError(f"train_images must be at least 1, not {self.train_images}")
        if self.rescaled_rate is not None and not 0 < self.rescaled_rate < math.inf:
            raise UserError(f"rescaled_rate must be a positive number, not {self.rescaled_rate}")
        if not 1 <= self.interim_masks <= catalogue.SAMPLED_MASKS:
            raise UserError(
                f"interim_masks must be 1 to {catalogue.SAMPLED_MASKS}, not {self.interim_masks}"
            )
        catalogue.check_width(self.width)
        for role in ("conv", "dense", "output"):
            keep = self.keep_rate(role)
            if not 0 < keep <= 1:
                raise UserError(f"keep_{role} must lie in (0, 1], not {keep}")
        if not self.arms:
            known = catalogue.EXPERIMENTS[self.experiment].arms
            raise UserError(f"no arms: choose some of {', '.join(known)}")
        if len(set(self.arms)) < len(self.arms):
            raise UserError(f"an arm is named twice: {', '.join(self.arms)}")
        self.settings()  # has checks of its own

    @property
    def kind(self) -> str:
        """The name in `kinds.KINDS` of what reads and runs its arms."""
        return catalogue.EXPERIMENTS[self.experiment].kind

    def settings(self) -> Settings:
        """The part that training needs."""
        names = (field.name for field in dataclasses.fields(Settings))
        return Settings(**{name: getattr(self, name) for name in names})

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that every field decides, save defaults of optional ones.

        Leaving out defaults lets the library grow an option without renaming old checkpoints.
        """
        return plan_hash(dataclasses.asdict(self))

    @property
    def replicas(self) -> list[Replica]:
        """All of them, seed by seed, so that a shard trains few dense networks."""
        return [Replica(arm, seed) for seed in range(self.seeds) for arm in self.arms]

    def keep_rate(self, role: str) -> float:
        """The share kept each round in layers of that role."""
        rate: float = getattr(self, f"keep_{role}")
        return rate

    def keep_fraction(self, role: str, round_: int) -> float:
        """The share kept after so many rounds in layers of that role."""
        return self.keep_rate(role) ** round_

    def as_dict(self) -> dict[str, Any]:
        """All fields, as JSON would hold them."""
        return dataclasses.asdict(self) | {"arms": list(self.arms)}

    @property
    def shared(self) -> dict[str, Any]:
        """All that decides a replica's numbers, save its arm and seed."""
        return shared(self.as_dict())


def as_typed(options: Mapping[str, Any]) -> dict[str, Any]:
    """A plan's options, numbers as its fields have them, so that equal plans have one hash.

    Raises `UserError` where one is no number, or no whole one where only those make sense.

    >>> plans.as_typed({"learning_rate": 20, "seeds": 3.0, "train_images": None})
    {'seeds': 3, 'learning_rate': 20.0, 'train_images': None}
    """
    return {
        option.name: _as_typed(option, options[option.name])
        for option in dataclasses.fields(Plan)
        if option.name in options
    }


def _as_typed(option: "dataclasses.Field[Any]", value: Any) -> Any:
    types = get_args(option.type) or (option.type,)
    number = next((kind for kind in (int, float) if kind in types), None)
    if number is None or (value is None and NoneType in types):
        return value
    try:
        typed = number(value)
    except (TypeError, ValueError, OverflowError):
        typed = None
    if typed is None or (number is int and typed != value):
        whole = "whole " if number is int else ""
        raise UserError(f"{option.name} must be a {whole}number, not {value!r}")
    return typed


def plan_hash(content: dict[str, Any]) -> str:
    """`Plan.hash` of a plan's fields, as a manifest holds them.

    >>> plans.plan_hash(plan.as_dict() | {"arms": plan.arms}) == plan.hash
    True
    """
    usual = defaults()
    fields = {
        name: value for name, value in content.items() if name not in usual or value != usual[name]
    }
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]


def shared(content: dict[str, Any]) -> dict[str, Any]:
    """`Plan.shared` of a plan's fields, as a manifest holds them.

    >>> paper = experiments.plan("criteria", "fc", "paper").as_dict()
    >>> sorted(set(paper) - set(plans.shared(paper)))
    ['arms', 'experiment', 'preset', 'seeds']
    """
    kind = catalogue.EXPERIMENTS.find(content["experiment"]).kind
    names = ("experiment", "preset", "arms", "seeds")
    fields = defaults() | dict(content)  # older manifests lack the newer options
    return {"kind": kind} | {name: value for name, value in fields.items() if name not in names}


def defaults() -> dict[str, Any]:
    """Of the options that have one.

    >>> plans.defaults()["batch_size"]
    60
    """
    return {
        field.name: field.default
        for field in dataclasses.fields(Plan)
        if field.default is not dataclasses.MISSING
    }

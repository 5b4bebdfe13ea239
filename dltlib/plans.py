"""The paper's experiments as data: arms, experiments, presets, and plans that combine them.

An experiment names its arms; a preset fixes everything else; a `Plan` is both with any overrides,
and its hash names checkpoints and records. A new ablation is one more arm, a new experiment one
more entry of `EXPERIMENTS`.
"""

import dataclasses
import hashlib
import itertools
import json
import math
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from dltlib import actions, criteria, datasets, networks, supermasks
from dltlib.errors import UserError
from dltlib.training import Settings


class Replica(NamedTuple):
    """One arm with one seed: one network being trained."""

    arm: str
    seed: int


class Arm(NamedTuple):
    """What is done to a ticket, written ``criterion/mask-1 action/mask-0 action``."""

    criterion: str
    mask1: str = "rewind"
    mask0: str = "zero"

    def __str__(self) -> str:
        return "/".join(self)


def parse_arm(text: str) -> Arm:
    """An `Arm` from ``criterion[/mask1[/mask0]]``; the actions default to rewind and zero."""
    parts = text.split("/")
    if len(parts) > 3:
        raise UserError(f"an arm is criterion/mask-1 action/mask-0 action, not {text!r}")
    arm = Arm(*parts)
    criteria.find(arm.criterion)
    actions.find_mask1(arm.mask1)
    actions.find_mask0(arm.mask0)
    return arm


class MaskArm(NamedTuple):
    """A supermask, written ``source/values/scaling``: source is a criterion, or of
    `supermasks.SOURCES`."""

    source: str
    values: str = "initial"
    scaling: str = "plain"

    def __str__(self) -> str:
        return "/".join(self)


def _parse_mask_arm(text: str) -> MaskArm:
    parts = text.split("/")
    if len(parts) > 3:
        raise UserError(f"a supermask is source/values/scaling, not {text!r}")
    arm = MaskArm(*parts)
    if arm.values not in supermasks.VALUES or arm.scaling not in supermasks.SCALINGS:
        raise UserError(
            f"supermask {text!r}: values are one of {', '.join(supermasks.VALUES)}, scaling one "
            f"of {', '.join(supermasks.SCALINGS)}"
        )
    return arm


def parse_criterion_mask(text: str) -> MaskArm:
    """A `MaskArm` whose source is a criterion."""
    arm = _parse_mask_arm(text)
    criteria.find(arm.source)
    return arm


def parse_learned_mask(text: str) -> MaskArm:
    """A `MaskArm` whose source is one of `supermasks.SOURCES`."""
    arm = _parse_mask_arm(text)
    if arm.source not in supermasks.SOURCES:
        raise UserError(
            f"a learned supermask is source/values/scaling, the source one of "
            f"{', '.join(supermasks.SOURCES)}, not {text!r}"
        )
    return arm


@dataclass(frozen=True)
class Experiment:
    """A named set of arms and how one is read. ``kind`` says which runner does the work:
    tickets, criterion_masks or learned_masks."""

    name: str
    title: str
    kind: str
    arms: tuple[str, ...]
    parse: Callable[[str], NamedTuple]


@dataclass(frozen=True)
class Plan:
    """One experiment on one network, to the last option. Bad values raise `UserError` at once."""

    experiment: str
    network: str
    preset: str
    dataset: str
    arms: tuple[str, ...]
    seeds: int  # seeds 0 .. seeds - 1
    rounds: int  # pruning rounds after the dense training
    epochs: int  # of each training
    learning_rate: float
    keep_conv: float  # share kept each round, by the layer's role
    keep_dense: float
    keep_output: float
    batch_size: int = 60
    evaluate_every: int = 100
    width: float = 1.0
    train_images: int | None = None
    precision: str = "fp32"

    def __post_init__(self) -> None:
        experiment = find(self.experiment)
        if self.dataset not in datasets.DATASETS:
            raise UserError(
                f"unknown data set {self.dataset!r}: choose one of {', '.join(datasets.DATASETS)}"
            )
        if self.network not in networks.ARCHITECTURES:
            raise UserError(
                f"unknown network {self.network!r}: choose one of "
                f"{', '.join(networks.ARCHITECTURES)}"
            )
        if self.seeds < 1:
            raise UserError(f"seeds must be at least 1, not {self.seeds}")
        if self.rounds < 0:
            raise UserError(f"rounds must not be negative, as {self.rounds} is")
        if self.train_images is not None and self.train_images < 1:
            raise UserError(f"train_images must be at least 1, not {self.train_images}")
        if not 0 < self.width < math.inf:
            raise UserError(f"width must be a positive number, not {self.width}")
        for role in ("conv", "dense", "output"):
            keep = getattr(self, f"keep_{role}")
            if not 0 < keep <= 1:
                raise UserError(f"keep_{role} must lie in (0, 1], not {keep}")
        if not self.arms:
            raise UserError(f"no arms: choose some of {', '.join(experiment.arms)}")
        arms = tuple(str(experiment.parse(arm)) for arm in self.arms)
        if len(set(arms)) < len(arms):
            raise UserError(f"an arm is named twice: {', '.join(arms)}")
        object.__setattr__(self, "arms", arms)
        self.settings()  # has checks of its own

    def settings(self) -> Settings:
        """The part that training needs."""
        names = (field.name for field in dataclasses.fields(Settings))
        return Settings(**{name: getattr(self, name) for name in names})

    def hash(self) -> str:
        """Twelve hexadecimal digits that every field decides, save defaults of optional ones.

        Leaving out defaults lets the library grow an option without renaming old checkpoints.
        """
        fields = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """``experiment-network-preset``, and the hash if the preset's values were overridden."""
        name = f"{self.experiment}-{self.network}-{self.preset}"
        return name if self.is_stock else f"{name}-{self.hash()}"

    @property
    def is_stock(self) -> bool:
        """Whether every value is the preset's own."""
        return self == plan(self.experiment, self.network, self.preset)

    @property
    def command(self) -> str:
        """The command that runs this plan, as a user would type it."""
        words = ["dltlib", "run", self.experiment]
        words += ["--network", self.network, "--preset", self.preset]
        stock = plan(self.experiment, self.network, self.preset)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value == getattr(stock, field.name):
                continue
            values = value if isinstance(value, tuple) else (value,)
            words += [f"--{field.name.replace('_', '-')}", *map(str, values)]
        return shlex.join(words)

    def replicas(self) -> list[Replica]:
        """All of them, seed by seed, so that a shard trains few dense networks."""
        return [Replica(arm, seed) for seed in range(self.seeds) for arm in self.arms]

    def keep_rate(self, role: str) -> float:
        """The share kept each round in layers of that role."""
        return getattr(self, f"keep_{role}")

    def as_dict(self) -> dict[str, Any]:
        """All fields, as JSON would hold them."""
        return dataclasses.asdict(self) | {"arms": list(self.arms)}


# Section 2 of the paper: epochs, Adam's rate, share kept each round (conv, dense, output).
_PAPER = {
    "fc": ("mnist", 55, 1.2e-3, 1.0),
    "conv2": ("cifar10", 27, 2e-4, 0.9),
    "conv4": ("cifar10", 34, 3e-4, 0.9),
    "conv6": ("cifar10", 40, 3e-4, 0.85),
}

# SGD's rate for learned masks. FC: section 5 of the paper, which gives none for convolutions. Those
# have the best of 10, 30, 100, 300, 1000 on Conv2, chosen by validation accuracy after 10 epochs at
# the cpu preset's width and images (python tools/choose_learning_rate.py conv2; the record is
# learning_rates-conv2-cpu). A full-width network may want another.
_LEARNED_RATES = {"fc": 100.0, "conv2": 300.0, "conv4": 300.0, "conv6": 300.0}

PRESETS = {
    "tiny": "digits (1,297 training images of 8x8, embedded): seconds to a minute",
    "cpu": "the paper's data, reduced to what two cores finish within hours",
    "paper": "section 2 of the paper to the letter: for a GPU, or patience",
}


def plan(experiment: str, network: str = "fc", preset: str = "tiny", **overrides: Any) -> Plan:
    """The plan of a preset, any field of it overridden. Raises `UserError` for bad names."""
    definition = find(experiment)
    if preset not in PRESETS:
        raise UserError(f"unknown preset {preset!r}: choose one of {', '.join(PRESETS)}")
    if network not in _PAPER:
        raise UserError(f"unknown network {network!r}: choose one of {', '.join(_PAPER)}")
    unknown = set(overrides) - {field.name for field in dataclasses.fields(Plan)}
    if unknown:
        raise UserError(f"a plan has no option {', '.join(sorted(unknown))}")
    values = _paper(definition, network)
    if preset == "tiny":
        values |= _tiny(definition, network)
    elif preset == "cpu":
        values |= _cpu(definition, network)
    return Plan(experiment, network, preset, **(values | overrides))


def _paper(experiment: Experiment, network: str) -> dict[str, Any]:
    """Section 2 of the paper; section 5 for learned masks."""
    dataset, epochs, rate, keep_conv = _PAPER[network]
    values = {
        "dataset": dataset,
        "arms": experiment.arms,
        "seeds": 5,
        "rounds": 24,
        "epochs": epochs,
        "learning_rate": rate,
        "keep_conv": keep_conv,
        "keep_dense": 0.8,
        "keep_output": 0.9,
    }
    if experiment.kind == "learned_masks":
        rate = _LEARNED_RATES[network]
        values |= {"rounds": 0, "epochs": 2000, "learning_rate": rate, "batch_size": 250}
    return values


def _tiny(experiment: Experiment, network: str) -> dict[str, Any]:
    """What differs on digits."""
    values: dict[str, Any] = {"dataset": "digits", "seeds": 3, "evaluate_every": 20}
    if network != "fc":
        values |= {"width": 0.125, "seeds": 2}
    if experiment.kind == "learned_masks":
        return values | {"epochs": 60, "batch_size": 50, "learning_rate": 10.0}
    return values | {"epochs": 8, "rounds": 8 if network == "fc" else 2}


def _cpu(experiment: Experiment, network: str) -> dict[str, Any]:
    """What is reduced for two cores; convolutional networks lose width and images too."""
    convolutions = network != "fc"
    values: dict[str, Any] = {"width": 0.125, "train_images": 3_000} if convolutions else {}
    if experiment.kind == "learned_masks":
        if convolutions:
            return values | {"train_images": 6_000, "seeds": 2, "epochs": 24}
        return {"seeds": 3, "epochs": 60}
    # Every second of the paper's keep fractions, in as many rounds.
    coarse = {
        "keep_conv": round(_PAPER[network][3] ** 2, 4),
        "keep_dense": 0.64,
        "keep_output": 0.81,
    }
    if convolutions:
        masks = experiment.kind == "criterion_masks"
        return (
            values | coarse | {"epochs": 8, "seeds": 2 if masks else 3, "rounds": 8 if masks else 4}
        )
    values = {"epochs": 5, "evaluate_every": 300}
    if experiment.kind == "tickets":
        values |= coarse | {"rounds": 12}
    return values


# --- the paper's experiments --------------------------------------------------------------------


def _tickets(name: str, title: str, arms: Sequence[Arm]) -> Experiment:
    return Experiment(name, title, "tickets", tuple(map(str, arms)), parse_arm)


def _learned_masks(name: str, title: str, source: str) -> Experiment:
    arms = itertools.product([source], supermasks.VALUES, supermasks.SCALINGS)
    return Experiment(
        name, title, "learned_masks", tuple(str(MaskArm(*arm)) for arm in arms), parse_learned_mask
    )


EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        _tickets(
            "criteria",
            "nine mask criteria (section 2)",
            [Arm(criterion) for criterion in criteria.PAPER],
        ),
        _tickets(
            "signs",
            "seven mask-1 actions (section 3)",
            [Arm("large_final", action) for action in actions.MASK1_ACTIONS],
        ),
        _tickets(
            "zeros",
            "five mask-0 actions (section 4)",
            [Arm("large_final", mask0=action) for action in actions.MASK0_ACTIONS],
        ),
        Experiment(
            "supermasks",
            "masks by criterion on untrained weights (section 5)",
            "criterion_masks",
            tuple(
                str(MaskArm(criterion, values, scaling))
                for criterion in (
                    "large_final",
                    "large_final_same_sign",
                    "large_final_diff_sign",
                    "magnitude_increase",
                    "magnitude_increase_same_sign",
                    "movement",
                    "large_init_large_final",
                    "snip",
                    "grad",
                    "random",
                )
                for values in supermasks.VALUES
                for scaling in supermasks.SCALINGS
            ),
            parse_criterion_mask,
        ),
        _learned_masks(
            "learned_supermasks",
            "learned Bernoulli masks on untrained weights (section 5)",
            "learned",
        ),
        _learned_masks(
            "identity_supermasks",
            "the same with the identity as the sample's gradient (not in the paper)",
            "learned_identity",
        ),
    )
}


def find(name: str) -> Experiment:
    """The experiment of that name, or a `UserError` that lists them all."""
    if name not in EXPERIMENTS:
        raise UserError(f"unknown experiment {name!r}: choose one of {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]

"""What the paper fixes, as data: networks, data sets, experiments, its figures, names for people.

Nothing here computes and nothing here needs torch, so that help texts and tables are made from it
at once. Each registry is the one place for the next of its sort: a network, an experiment and the
facts of a data set are one entry here (reading a new data set's files is `datasets.register`), and
a package of one's own adds to them as this file does.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dltlib.errors import UserError
from dltlib.registry import Registry

# --- networks (section 2, table 1) ---------------------------------------------------------------


@dataclass(frozen=True)
class Architecture:
    """A network and how it is trained at the paper's scale.

    ``channels`` are the output channels of its 3x3 'same' convolutions (a 2x2 max pool after each
    pair), ``hidden`` the units of its hidden dense layers. ``keep_*`` are the shares of weights
    kept each pruning round, by the layer's role; ``learned_rate`` is SGD's for learned masks,
    ``rescaled_rate`` that for rescaled ones where it is another.
    """

    name: str
    title: str
    channels: tuple[int, ...]
    hidden: tuple[int, ...]
    dataset: str
    epochs: int
    learning_rate: float
    learned_rate: float
    rescaled_rate: float | None = None
    keep_conv: float = 0.9
    keep_dense: float = 0.8
    keep_output: float = 0.9


WIDEST = 64.0  # times the paper's hidden sizes: more is a mistyped width


def check_width(width: float) -> None:
    """Raise `UserError` for a width that no network has."""
    if not 0 < width <= WIDEST:
        raise UserError(f"width must be a positive number up to {WIDEST:g}, not {width}")


NETWORKS: Registry[Architecture] = Registry("network")
for _network in (
    # FC's learned rate is section 5's. The paper gives none for convolutions; these have the best
    # validation accuracy of `MASK_RATES`, without and with rescaling (records learning_rates-*-cpu:
    # dltlib run learning_rates --network conv2 --preset cpu).
    Architecture("fc", "FC", (), (300, 100), "mnist", 55, 1.2e-3, 100.0, keep_conv=1.0),
    Architecture("conv2", "Conv2", (64, 64), (256, 256), "cifar10", 27, 2e-4, 300.0, 100.0),
    Architecture(
        "conv4", "Conv4", (64, 64, 128, 128), (256, 256), "cifar10", 34, 3e-4, 1000.0, 100.0
    ),
    Architecture(
        "conv6",
        "Conv6",
        (64, 64, 128, 128, 256, 256),
        (256, 256),
        "cifar10",
        40,
        3e-4,
        3000.0,
        1000.0,
        keep_conv=0.85,
    ),
):
    NETWORKS.add(_network)


# --- data sets ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class DataSource:
    """Facts of a data set: images of ``shape`` (channels, height, width), and how many of them
    there are for training, validation and test. ``origin`` says where they come from."""

    name: str
    title: str
    shape: tuple[int, int, int]
    train: int
    validation: int
    test: int
    origin: str
    classes: int = 10


DATASETS: Registry[DataSource] = Registry("data set")
for _dataset in (
    DataSource("digits", "digits", (1, 8, 8), 1_297, 200, 300, "scikit-learn"),
    DataSource("mnist", "MNIST", (1, 28, 28), 55_000, 5_000, 10_000, "torchvision"),
    DataSource("fashion_mnist", "Fashion-MNIST", (1, 28, 28), 55_000, 5_000, 10_000, "torchvision"),
    DataSource("cifar10", "CIFAR-10", (3, 32, 32), 45_000, 5_000, 10_000, "torchvision"),
):
    DATASETS.add(_dataset)


# --- criteria, actions and masks, by name -------------------------------------------------------

# The nine criteria of the paper's figures, in its order; `criteria.CRITERIA` holds more.
PAPER_CRITERIA = (
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
PAPER_MASK1_ACTIONS = (
    "rewind",
    "reinit",
    "reshuffle",
    "constant",
    "signed_reinit",
    "signed_reshuffle",
    "signed_constant",
)
PAPER_MASK0_ACTIONS = ("zero", "freeze_init", "variant_1", "variant_2", "move_to_zero")
# The criteria whose masks are laid over untrained weights (section 5).
MASK_SOURCES = (
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
MASK_VALUES = ("initial", "constant")  # w_i; the signed constant, "S.C."
MASK_SCALINGS = ("plain", "rescaled")  # without and with dynamic weight rescaling
LEARNED_SOURCES = ("learned", "learned_identity")  # of learned masks: see `supermasks`
SAMPLED_MASKS = 10  # over which a learned mask's test accuracy is averaged, at most


# Where the dense training stops that a mask is read from; the end comes on top.
STOPS = (
    *(f"accuracy={share}" for share in (0.25, 0.5, 0.75)),
    *(f"epoch={epoch}" for epoch in (1, 2, 5, 15, 30)),
)

# Where a training is read: at its best validation accuracy, as everywhere in this book, at its
# least validation loss, or after its last iteration.
STOPPING_RULES = ("accuracy", "loss", "last")


# --- experiments --------------------------------------------------------------------------------


# Of SGD, tried for learned masks: 100, 50 and 20 are those of later work on the paper's networks.
MASK_RATES = (20, 50, 100, 300, 1000, 3000, 10000)


@dataclass(frozen=True)
class Experiment:
    """A named set of arms. ``kind`` names the entry of `kinds.KINDS` that reads and runs them;
    ``options`` gives, for a network, what stands in place of its presets'."""

    name: str
    title: str
    kind: str
    arms: tuple[str, ...]
    options: Callable[[Architecture], Mapping[str, Any]] = lambda network: {}


def _two_sizes(network: Architecture) -> dict[str, Any]:
    """Eight of the paper's rounds in one, twice."""
    roles = ("keep_conv", "keep_dense", "keep_output")
    return {"seeds": 3, "rounds": 2} | {
        role: round(getattr(network, role) ** 8, 4) for role in roles
    }


def _masks(*sources: str) -> tuple[str, ...]:
    return tuple(map("/".join, itertools.product(sources, MASK_VALUES, MASK_SCALINGS)))


EXPERIMENTS: Registry[Experiment] = Registry("experiment")
for _experiment in (
    Experiment(
        "criteria",
        "nine mask criteria (section 2)",
        "tickets",
        tuple(f"{name}/rewind/zero" for name in PAPER_CRITERIA),
    ),
    Experiment(
        "signs",
        "seven mask-1 actions (section 3)",
        "tickets",
        tuple(f"large_final/{name}/zero" for name in PAPER_MASK1_ACTIONS),
    ),
    Experiment(
        "zeros",
        "five mask-0 actions (section 4)",
        "tickets",
        tuple(f"large_final/rewind/{name}" for name in PAPER_MASK0_ACTIONS),
    ),
    Experiment(
        "supermasks",
        "masks by criterion on untrained weights (section 5)",
        "criterion_masks",
        _masks(*MASK_SOURCES),
    ),
    Experiment(
        "training_time",
        "masks by criterion of networks trained for longer and longer (not in the paper)",
        "criterion_masks",
        tuple(
            f"{source}/{values}/plain{stop}"
            for source in ("large_final", "large_final_same_sign")
            for values in MASK_VALUES
            for stop in (*(f"/{stop}" for stop in STOPS), "")
        ),
    ),
    Experiment(
        "learned_supermasks",
        "learned Bernoulli masks on untrained weights (section 5)",
        "learned_masks",
        _masks("learned"),
    ),
    Experiment(
        "identity_supermasks",
        "learned masks, the identity for the sample's gradient (not in the paper)",
        "learned_masks",
        _masks("learned_identity"),
    ),
    Experiment(
        "matched_steps",
        "learned masks at rates that match the identity's first steps (not in the paper)",
        "learned_masks",
        # While every m is 0 the sigmoid's slope is 1/4, and the factor of rescaling 2.
        tuple(
            f"learned/{values}/{scaling}/rate={times}x"
            for values in MASK_VALUES
            for scaling, times in zip(MASK_SCALINGS, (4, 2), strict=True)
        ),
    ),
    Experiment(
        "learning_rates",
        "learned masks over w_i at several rates of SGD, briefly, to choose one (not in the paper)",
        "learned_masks",
        tuple(
            f"learned/initial/{scaling}/rate={rate}"
            for scaling in MASK_SCALINGS
            for rate in MASK_RATES
        ),
        # The rates decide nothing, as every arm has its own: whatever is chosen by the search, it
        # stays the same one.
        lambda network: {
            "seeds": 1,
            "epochs": 3,
            "learning_rate": 300.0,
            "rescaled_rate": 100.0,
            "interim_masks": SAMPLED_MASKS,
        },
    ),
    Experiment(
        "early_stopping",
        "dense networks, read by three rules of when to stop (not in the paper)",
        "stopping_rules",
        STOPPING_RULES,
    ),
    Experiment(
        "pilot",
        "four arms at two sizes, to choose the scale of larger runs (not in the paper)",
        "tickets",
        (
            "large_final/rewind/zero",
            "random/rewind/zero",
            "large_final/reinit/zero",
            "large_final/signed_constant/zero",
        ),
        _two_sizes,
    ),
):
    EXPERIMENTS.add(_experiment)

PRESETS = {  # the largest that has records is read
    "paper": "section 2 of the paper to the letter: for a GPU, or patience",
    "cpu": "the paper's data, reduced for two cores: FC in minutes, convolutions mostly in hours",
    "tiny": "digits (1,297 training images of 8x8, embedded): seconds to a minute",
}


# --- the paper's table 2: test accuracy in percent ----------------------------------------------

TABLE_2_COLUMNS = (
    "criterion mask, w_i",
    "criterion mask, S.C.",
    "learned mask, w_i",
    "learned mask, S.C.",
    "learned + DWR, w_i",
    "learned + DWR, S.C.",
    "trained weights",
)
TABLE_2: dict[str, dict[str, float]] = {
    network: dict(zip(TABLE_2_COLUMNS, row, strict=True))
    for network, row in {
        "fc": (79.3, 86.3, 95.3, 96.4, 97.8, 98.0, 97.7),
        "conv2": (22.3, 37.4, 64.4, 66.3, 65.0, 66.0, 69.2),
        "conv4": (23.7, 39.7, 65.4, 66.2, 71.7, 72.5, 75.4),
        "conv6": (24.0, 41.0, 65.3, 65.4, 76.3, 76.5, 78.3),
    }.items()
}

"""What supermasks by criterion and learned ones have in common: how they are written."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dltlib import catalogue
from dltlib.errors import UserError

GRAMMAR = "source/values/scaling"


class MaskArm(NamedTuple):
    """A supermask, written ``source/values/scaling``: source is a criterion, or one of
    `catalogue.LEARNED_SOURCES`."""

    source: str
    values: str = "initial"
    scaling: str = "plain"

    def __str__(self) -> str:
        return "/".join(self)


def parse(text: str, find_source: Callable[[str], object]) -> MaskArm:
    """A `MaskArm`; ``find_source`` raises `UserError` for a source that is not one."""
    parts = text.split("/")
    if len(parts) > 3:
        raise UserError(f"a supermask is {GRAMMAR}, not {text!r}")
    arm = MaskArm(*parts)
    find_source(arm.source)
    if arm.values not in catalogue.MASK_VALUES or arm.scaling not in catalogue.MASK_SCALINGS:
        raise UserError(
            f"supermask {text!r}: values are one of {', '.join(catalogue.MASK_VALUES)}, scaling "
            f"one of {', '.join(catalogue.MASK_SCALINGS)}"
        )
    return arm


def written(number: float) -> str:
    """A number in an arm as it is written whatever was typed.

    >>> [written(float(text)) for text in ("5e1", "50.0", "0.10", "1e-5")]
    ['50', '50', '0.1', '0.00001']
    """
    return np.format_float_positional(number, trim="-")

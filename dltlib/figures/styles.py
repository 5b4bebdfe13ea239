"""The look that all figures share: fonts and grid, and each arm's colour, dashes and name."""

import functools
import itertools
import math
import textwrap
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple, ParamSpec
from weakref import WeakKeyDictionary

import matplotlib
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from dltlib import catalogue

WIDTH, NARROW = 6.4, 4.2
"""Inches: of a figure as wide as the text, and of its form for phones, which scale it to their own
width and still show letters that can be read."""

# Okabe and Ito's hues, the pale ones darkened until they stand out from white, 3:1; their dark
# forms (`forms.dark_color`) stand out from the dark page as much.
BLUE, ORANGE, GREEN = "#0072B2", "#B57700", "#009E73"
VERMILION, PURPLE, SKY = "#D55E00", "#B8619A", "#2A8AC4"
GREY, BLACK, BROWN = "#7F7F7F", "#1A1A1A", "#8C5A2B"
RED, OLIVE = "#B0413E", "#5E8C1A"

_FONTS: dict[Any, float] = {
    "font.size": 11,
    "axes.labelsize": 11,
    "axes.titlesize": 11,
    "legend.fontsize": 10.5,
    "legend.title_fontsize": 10.5,
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
}
_LOOK = {
    **sns.plotting_context("notebook"),
    **sns.axes_style("whitegrid"),
    **_FONTS,
    "grid.color": "#E6E6E6",
    "axes.edgecolor": "#8C8C8C",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}

P = ParamSpec("P")
_NUMBERS: WeakKeyDictionary[Figure, pd.DataFrame] = WeakKeyDictionary()
_narrow: ContextVar[bool] = ContextVar("narrow", default=False)


class _Drawing(NamedTuple):
    """Who drew a figure, how to draw it once more, and what was in it then."""

    draw: Callable[..., Figure]
    again: Callable[[], Figure]
    content: list[Any]


_DRAWINGS: WeakKeyDictionary[Figure, _Drawing] = WeakKeyDictionary()


def inches() -> float:
    """Inches of the figure that is being drawn."""
    return NARROW if _narrow.get() else WIDTH


def fitting(columns: int, least: float) -> int:
    """At most so many ``columns``, each of ``least`` inches or more, beside one another."""
    return max(1, min(columns, int(inches() / least)))


def look(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorator of every function that draws: the book's fonts, grid and lines, for its time only.

    The figure remembers who drew it (`drawn_by`); its numbers the function must `hand_over`.
    """

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with matplotlib.rc_context(_LOOK):
            figure = draw(*args, **kwargs)
        if figure not in _NUMBERS:
            raise TypeError(f"{draw.__name__} hands no numbers over")
        again = functools.partial(drawn, *args, **kwargs)
        _DRAWINGS[figure] = _Drawing(draw, again, _content(figure))
        return figure

    return drawn


def drawn_by(figure: Figure) -> Callable[..., Figure] | None:
    """The function of the book that drew a figure; None for one drawn elsewhere."""
    drawing = _DRAWINGS.get(figure)
    return None if drawing is None else drawing.draw


def wrapped(title: str, panels: int = 1) -> str:
    """A title in as many lines as it takes above one of so many panels side by side.

    >>> wrapped("signed constants, rescaled", panels=3).splitlines()
    ['signed constants,', 'rescaled']
    """
    # A long name breaks behind an underscore.
    lines = textwrap.wrap(title.replace("_", "_ "), round(9 * inches() / panels))
    return "\n".join(line.replace("_ ", "_") for line in lines)


def narrow(figure: Figure) -> Figure | None:
    """The same figure drawn once more for a phone: `NARROW` inches wide, its letters as large.

    None for one that was drawn elsewhere, or that somebody changed after it was drawn: the change
    would be missing.
    """
    drawing = _DRAWINGS.get(figure)
    if drawing is None or drawing.content != _content(figure):
        return None
    token = _narrow.set(True)
    try:
        return drawing.again()
    finally:
        _narrow.reset(token)


def _content(figure: Figure) -> list[Any]:
    """What a change of a figure would change: its limits, its texts, how much it holds."""
    found: list[Any] = [len(figure.get_children()), *(text.get_text() for text in figure.texts)]
    for ax in figure.axes:
        found += [len(ax.get_children()), *ax.get_xlim(), *ax.get_ylim()]
        found += [ax.get_xscale(), ax.get_yscale(), ax.get_xlabel(), ax.get_ylabel()]
        found += [ax.get_title(loc) for loc in ("left", "center", "right")]
    return found


def hand_over(figure: Figure, numbers: pd.DataFrame) -> None:
    """Keep with a figure the numbers that it shows, for those who want them without the picture."""
    _NUMBERS[figure] = numbers


def numbers_of(figure: Figure) -> pd.DataFrame | None:
    """What `hand_over` kept with the figure, or None."""
    return _NUMBERS.get(figure)


class Style(NamedTuple):
    """How an arm is drawn. ``dashes`` are on and off lengths in points; empty for a solid line."""

    color: str
    dashes: tuple[float, ...] = ()


DASHED, DOTTED = (4, 1.8), (1.2, 1.6)

# By the part of the arm's name that is not standard (section 1): criterion, mask-1 or mask-0
# action; for supermasks by their source. The standard ticket, large_final/rewind/zero, is blue
# wherever it appears, under whichever name.
STYLES: dict[str, Style] = {
    "large_final": Style(BLUE),
    "small_final": Style(BLUE, DASHED),
    "large_init": Style(ORANGE),
    "small_init": Style(ORANGE, DASHED),
    "large_init_large_final": Style(GREEN),
    "small_init_small_final": Style(GREEN, DASHED),
    "magnitude_increase": Style(VERMILION),
    "movement": Style(PURPLE),
    "random": Style(GREY, DOTTED),
    "large_final_same_sign": Style(ORANGE),
    "large_final_diff_sign": Style(ORANGE, DASHED),
    "magnitude_increase_same_sign": Style(VERMILION, DASHED),
    "snip": Style(BROWN),
    "grad": Style(BROWN, DASHED),
    "reinit": Style(VERMILION),
    "signed_reinit": Style(GREEN),
    "reshuffle": Style(RED, DASHED),
    "signed_reshuffle": Style(OLIVE, DASHED),
    "constant": Style("#8A3A00", DOTTED),
    "signed_constant": Style("#00513B", DOTTED),
    "freeze_init": Style(ORANGE),
    "variant_1": Style(GREEN),
    "variant_2": Style(PURPLE),
    "move_to_zero": Style(VERMILION, DOTTED),
    "trained": Style(BLACK, DASHED),
}
LEARNED: dict[str, Style] = {
    "learned/initial/plain": Style(PURPLE, DASHED),
    "learned/initial/rescaled": Style(PURPLE),
    "learned/constant/plain": Style(GREEN, DASHED),
    "learned/constant/rescaled": Style(GREEN),
}


def as_learned(arm: str) -> str:
    """Masks learned with the identity as gradient are drawn as their like without it."""
    return arm.replace("learned_identity/", "learned/")


def style(arm: str) -> Style:
    """The arm's colour and dashes, the same in every figure of the book; black if it has none.

    A late arm, ``large_final/rewind@100/zero``, has the colour of its like that is not, and dashes
    of its own.
    """
    mask = "/".join(arm.split("/")[:3])  # without a rate, or an epoch of reading
    if as_learned(mask) in LEARNED:
        return LEARNED[as_learned(mask)]
    named = [part.partition("@") for part in arm.split("/")]
    parts = [name for name, _, _ in named]
    special = [part for part in parts[1:] if part not in ("rewind", "zero") and part in STYLES]
    if any(part in catalogue.MASK_SCALINGS for part in parts[2:3]):
        special = []  # a supermask: constant names its values
    found = STYLES.get(special[0] if special else parts[0], Style(BLACK))
    late = [_late(dots, int(k)) for dots, (_, _, k) in enumerate(named, start=1) if k.isdigit()]
    return found._replace(dashes=(*itertools.chain.from_iterable(late), *found.dashes))


def _late(dots: int, iteration: int) -> tuple[float, ...]:
    """Dashes of a part of an arm's name: a dot for the criterion, two for the mask-1 action, and
    a dash that is the longer the later."""
    return (*DOTTED * dots, round(1.5 * math.log2(1 + iteration), 1), DOTTED[1])


def labels(arms: Sequence[str]) -> dict[str, str]:
    """A short label for each arm: the parts of its name that are not the same for all.

    >>> labels(["large_final/rewind/zero", "large_final/reinit/zero"])["large_final/reinit/zero"]
    'reinit'
    """
    names = [arm.split("/") for arm in arms]
    length = max(map(len, names), default=0)
    same = [
        len({name[place : place + 1][0] for name in names if place < len(name)}) == 1
        for place in range(length)
    ]
    short = {
        arm: " / ".join(part for place, part in enumerate(name) if not same[place])
        for arm, name in zip(arms, names, strict=True)
    }
    return {arm: label or arm.split("/")[0] for arm, label in short.items()}

"""Numbers and lists as prose has them, and plain text as a page's HTML has it."""

import html
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MINUS = "\N{MINUS SIGN}"


def listed(words: "Iterable[str]") -> str:
    """Words in a row, "none" for no word.

    >>> listed(["a", "b", "c"]), listed([])
    ('a, b and c', 'none')
    """
    *most, end = list(words) or ["none"]
    return f"{', '.join(most)} and {end}" if most else end


def signed(value: float, decimals: int = 2) -> str:
    """A number with its sign, which is a minus sign and no hyphen, where it is below zero.

    >>> signed(-0.129), signed(0.5, 1)
    ('−0.13', '+0.5')
    """
    return f"{value:+.{decimals}f}".replace("-", MINUS)


def apart(mean: float, low: float, high: float, reference: str) -> str:
    """A difference of two shares in words, to glue: in percentage points, with its 95 % interval.

    An end that is not a number (a single seed has no interval) leaves the interval out.

    >>> apart(-0.012, -0.02, -0.004, "rewinding")
    '1.20 [0.40, 2.00] points below rewinding'
    """
    from dltlib import claims

    side, way = (1, "above") if mean >= 0 else (-1, "below")
    low, high = sorted(100 * side * end for end in (low, high))
    return f"{claims.bracketed(100 * side * mean, low, high)} points {way} {reference}"


def coded(text: str) -> str:
    """Plain text as HTML: `code` in backticks, [words](address) as a link."""
    safe = with_symbols(html.escape(one_line(text)))
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    return re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", r'<a href="\2">\1</a>', safe)


def with_symbols(text: str) -> str:
    """The paper's w_i and w_f as formulas have them, in HTML."""
    return re.sub(r"\bw_([if])\b", r"<i>w</i><sub>\1</sub>", text)


def one_line(text: str) -> str:
    """Without line breaks, and one space between words."""
    return " ".join(text.split())

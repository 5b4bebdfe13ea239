"""What stands between a chapter's paragraphs: tables, boxes, folds, verdicts, glued numbers."""

import html
import math
import re
from typing import TYPE_CHECKING

from dltlib.errors import UserError
from dltlib.page.scales import beside_the_paper
from dltlib.page.words import MINUS, coded, one_line, with_symbols

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas

    from dltlib.claims import Result
    from dltlib.records import Record

_GLUE_PREFIX = "application/papermill.record/"


def table(
    frame: "pandas.DataFrame", *, caption: str, index: bool = True, decimals: int | None = None
) -> None:
    """Show `frame` as an HTML table with a caption, which scrolls sideways on a narrow screen.

    `caption` is plain text. Floats are rounded to `decimals` digits; missing values are left empty.
    Raises ValueError for a table without a cell: a page would show its caption alone.
    """
    from IPython.display import display

    if frame.empty:
        raise ValueError(f"nothing to show in the table {caption!r}")
    body = _table(frame, index, decimals)
    label = html.escape(one_line(caption), quote=True)
    # A region that can be focused, so that it scrolls by keyboard too; its caption stays in place.
    region = (
        f'<p class="table-caption">{with_symbols(label)}</p>\n'
        f'<div class="table-region" role="region" aria-label="{label}" tabindex="0">'
    )
    rounded = frame if decimals is None else frame.round(decimals)
    display(
        {
            "text/html": f"{region}\n{body}\n</div>",
            "text/plain": f"{one_line(caption)}\n{rounded.to_string(index=index, na_rep='')}",
        },
        raw=True,
    )


def _table(frame: "pandas.DataFrame", index: bool, decimals: int | None) -> str:
    body: str = frame.to_html(
        index=index,
        border=0,
        na_rep="",
        classes="book-table",
        float_format=None
        if decimals is None
        else lambda value: f"{value:.{decimals}f}".replace("-", MINUS),
    )
    # pandas writes this attribute although the style sheet decides.
    body = body.replace(' style="text-align: right;"', "")
    words = [place for place in range(frame.shape[1]) if _is_prose(frame.iloc[:, place])]
    body = re.sub(
        r"<tr>.*?</tr>", lambda row: _marked(row[0], words, frame.shape[1]), body, flags=re.S
    )
    body = _UNBROKEN.sub(r'<span class="nobreak">\g<0></span>', body)
    body = re.sub(r"(?<!\bw)_(?=[^<>]*</t[hd]>)", "_<wbr>", body)  # where a long name may break
    return with_symbols(body)


def _is_prose(column: "pandas.Series") -> bool:
    """Whether a column holds words, which begin on the left, and not numbers."""
    texts = [value for value in column if isinstance(value, str) and value]
    return bool(texts) and not any(re.match(r"[<+−-]?[\d.]", text) for text in texts)


def _marked(row: str, places: "Sequence[int]", columns: int) -> str:
    """A row of a table whose cells at these places, counted without the index, are of words."""
    cells = re.split(r"(?=<t[hd]>)", row)
    before = len(cells) - columns
    if before > 0:  # a row of heads that span columns has fewer
        for place in places:
            cells[before + place] = re.sub(
                r"^<(t[hd])>", r'<\1 class="words">', cells[before + place]
            )
    return "".join(cells)


# Two ends in brackets (which may come to stand below their mean, where room is scarce), a mean with
# its deviation or range, the name of a claim.
_UNBROKEN = re.compile(
    rf"\[[^][<>]+\]|{MINUS}?\d[\d.]* (?:± ?[\d.]+|\([\d.]+[–-][\d.]+\))"
    r"|(?<=>)[a-z]+-\d[a-z]?(?=<)"
)


def answer(*, question: str, answer: str, number: str, results: "Sequence[Result]") -> None:
    """Show what a chapter found, in a box: question, answer, number, and the verdicts behind it.

    The three texts are plain, but for `code` in backticks; each is one or two sentences, made from
    records. Every verdict links to its claim on the scorecard.
    """
    from IPython.display import display

    from dltlib import claims
    from dltlib.figures import NETWORK_NAMES

    said = {}
    for result in results:
        where = "" if result.network == "fc" else f" on {NETWORK_NAMES[result.network]}"
        held = claims.holds(claims.readings_of(result))
        said[result.claim, result.network] = f"{result.outcome}{where} ({held})"
    linked = "; ".join(
        f'<a href="scorecard.html#{name}" title="{html.escape(claims.CLAIMS[name].sentence)}">'
        f"{name}</a> {words}"
        for (name, _), words in said.items()
    )
    told = "; ".join(f"{name} {words}" for (name, _), words in said.items())
    lines = filter(None, (coded(answer), coded(number), linked))
    body = "".join(f"<p>{line}</p>" for line in lines)
    display(
        {
            "text/html": '<div class="admonition note answer">'
            f'<p class="admonition-title">{coded(question)}</p>{body}</div>',
            "text/plain": "\n".join((question, answer, number, told)),
        },
        raw=True,
    )


def basis(*records: "Record") -> None:
    """Show in the margin what the numbers of a chapter rest on: each record's scale beside the
    paper's.

    For a cell with the tag ``margin``, so that it stands beside the text and not in its way.
    """
    from IPython.display import display

    lines = [beside_the_paper(record) for record in records]
    title = "What this rests on"
    body = "".join(f"<p>{coded(line)}</p>" for line in lines)
    display(
        {
            "text/html": f'<div class="basis"><p><strong>{title}</strong></p>{body}</div>',
            "text/plain": "\n".join((title, *lines)),
        },
        raw=True,
    )


def plane(record: "Record", *, criterion: str, other: str, layer: str = "") -> None:
    """Show the plane of w_i and w_f to play with, as the page of that name has it; it opens on the
    weights of a record of criteria, and on ``layer``, the first if left out."""
    from IPython.display import display

    scripts = "".join(
        f'<script defer src="../_static/interactive/{name}.js"></script>'
        for name in ("common", "criteria", "plane")
    )
    display(
        {
            "text/html": '<link rel="stylesheet" href="../_static/interactive/interactive.css">'
            f'<div class="dlt-app dlt-plane" data-criterion="{criterion}" data-other="{other}" '
            f'data-record="{record.name}" data-layer="{layer}">'
            '<p>The plane to play with is part of the site: <a href="plane.html">plane</a>.</p>'
            f"</div>{scripts}",
            "text/plain": f"The plane to play with: {criterion} beside {other}.",
        },
        raw=True,
    )


def fold(
    title: str,
    *paragraphs: str,
    frame: "pandas.DataFrame | None" = None,
    name: str | None = None,
) -> None:
    """Show paragraphs and a table behind a title that unfolds; `name` is what links lead to.

    Title and paragraphs are plain, but for `code` in backticks and [words](address).
    """
    from IPython.display import display

    anchor = "" if name is None else f' id="{html.escape(name, quote=True)}"'
    parts = [f"<p>{coded(paragraph)}</p>" for paragraph in paragraphs]
    told = [title, *paragraphs]
    if frame is not None:
        label = html.escape(one_line(title), quote=True)
        parts.append(
            f'<div class="table-region" role="region" aria-label="{label}" tabindex="0">'
            f"{_table(frame, True, None)}</div>"
        )
        told.append(frame.to_string(na_rep=""))
    display(
        {
            "text/html": f'<details class="fold"{anchor}><summary>{coded(title)}</summary>'
            f"{''.join(parts)}</details>",
            "text/plain": "\n".join(told),
        },
        raw=True,
    )


def glue(**values: bool | int | float | str) -> None:
    """Name values for the prose: ``{glue:text}`name:.1f`` shows one where it is written.

    From another page: ``{glue:text}`criteria.ipynb::name:.1f``. Floats are kept to six significant
    digits, so that the last bits of a machine's arithmetic are no difference between runs.

    Raises `UserError` for a float that is not finite: no page should say "nan".
    """
    from IPython.display import display

    for name, value in values.items():
        if hasattr(value, "item"):  # a NumPy scalar or a tensor of one element
            value = value.item()
        if isinstance(value, float):
            if not math.isfinite(value):
                raise UserError(f"glue {name}={value}: not a number that a page can state")
            value = float(f"{value:.6g}")
        display(
            {f"{_GLUE_PREFIX}text/plain": repr(value)},
            raw=True,
            metadata={"scrapbook": {"name": name, "mime_prefix": _GLUE_PREFIX}},
        )


def verdicts(results: "Sequence[Result]", *, caption: str) -> None:
    """Show every comparison that some claims come down to, and glue what the prose says of them.

    For the claim zeros-1: ``verdict_zeros_1``, ``weakest_zeros_1`` (the comparison on which the
    verdict hangs), ``why_zeros_1`` (the same with the reason, where there is one) and
    ``holds_zeros_1`` (in how many readings of the records it is the same).
    """
    from dltlib import claims

    for result in results:
        name, weakest = result.claim.replace("-", "_"), result.weakest.name
        why = f"{weakest} ({result.reason})" if result.reason else weakest
        held = claims.holds(claims.readings_of(result))
        said = {"verdict": result.outcome, "weakest": weakest, "why": why, "holds": held}
        glue(**{f"{word}_{name}": value for word, value in said.items()})
    table(claims.comparisons(results), caption=caption)
    table(
        claims.robustness(results),
        caption="How each verdict fares where a choice is another: windows that end at 1 % of the "
        "weights ending at 0.5 or 2 %, final instead of early-stopped accuracy, margins halved "
        "or doubled; and where all of a claim's intervals are to hold at once (Bonferroni).",
    )


BY_LENGTH = (
    "The same claims by each record of this network: verdict, and effect of the weakest "
    "comparison in percentage points. Records differ in rounds, too, and in seeds; where one has "
    "more of these, it is there a second time with as many as the other. The scorecard counts the "
    "longest training with all its seeds."
)


def by_length(
    experiment: str, names: "Sequence[str]", network: str = "fc", caption: str = BY_LENGTH
) -> None:
    """Show what some claims about one experiment come to by each length of training on record."""
    from dltlib import claims

    table(claims.by_length(experiment, names, network), caption=caption)

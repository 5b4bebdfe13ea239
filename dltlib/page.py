"""What a chapter puts on its page: figures, tables and numbers.

For chapter writers::

    from dltlib import page

    page.show(figure, name="fig-criteria-best", alt=..., caption=..., source=record.provenance())
    page.table(frame, caption=...)
    page.glue(best_accuracy=0.9812)      # in the prose: {glue:text}`best_accuracy:.2%`

`show` leaves alt text, caption and name beside the picture in the notebook; `handle_mime`, which
the entry point ``myst_nb.mime_renderers`` names, turns them into a numbered figure of the site,
so that ``{numref}`fig-criteria-accuracy``` works on every page. (Jupyter's own metadata of a
cell could hold a caption too, but only a typed one: nothing in it could come from a record.)

A figure is handed over in several forms (`forms_of`): as vectors, in a light and a dark one, as the
numbers that it shows, and as the code that drew it. The notebook shows a PNG, as every reader of
notebooks can, and keeps the others beside it, packed; the site has them in ``_figures``.
"""

import base64
import functools
import gzip
import html
import importlib
import inspect
import io
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dltlib.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas
    from matplotlib.figure import Figure

    from dltlib.claims import Evidence, Result
    from dltlib.records import Record

DOTS_PER_INCH = 144
"""Resolution of figures: one and a half times a screen's, so that phones show them crisp."""
NARROW_SCREEN = 520
"""Pixels: on screens up to so wide, figures show their narrow form."""
SHORTEST_ALT = 30
"""Fewest characters of an alt text: less than that describes no figure."""

MINUS = "\N{MINUS SIGN}"

_PIXELS_PER_INCH, _POINTS_PER_INCH = 96, 72
_GLUE_PREFIX = "application/papermill.record/"


def show(figure: "Figure", *, name: str, alt: str, caption: str, source: str | None = None) -> None:
    """Show `figure`, once, as a numbered figure of the page.

    `name` is what ``{numref}`` refers to; it begins with ``fig-`` and is unique in the book.
    `alt` says in words what the figure shows, for readers who do not see it: the axes, the
    curves, the finding. `caption` is one paragraph of MyST Markdown, and so is `source`, which
    stands below it in small type: where the data come from and the command that remakes them,
    as `dltlib.records.Record.provenance` words it. The figure is closed.

    Raises `UserError` where the name or the alt text says too little.
    """
    if not re.fullmatch(r"fig-[a-z0-9-]+", name):
        raise UserError(f"figure name {name!r}: write fig- and lower-case letters, digits, hyphens")
    if len(alt.strip()) < SHORTEST_ALT:
        raise UserError(f"figure {name}: an alt text of at least {SHORTEST_ALT} characters, please")
    if not caption.strip():
        raise UserError(f"figure {name}: a caption, please")
    from IPython.display import display
    from matplotlib import pyplot

    buffer = io.BytesIO()
    # No "Software" entry: the same figure gives the same bytes in the next version too.
    figure.savefig(
        buffer,
        format="png",
        dpi=DOTS_PER_INCH,
        bbox_inches="tight",
        facecolor="white",
        metadata={"Software": None},
    )
    picture, pixels = _in_palette(buffer)
    described = {
        "alt": _one_line(alt),
        "caption": _one_line(caption),
        "source": _one_line(source or ""),
        "name": name,
        "width": round(pixels * _PIXELS_PER_INCH / DOTS_PER_INCH),
        "forms": {kind: _packed(text) for kind, text in forms_of(figure).items()},
    }
    pyplot.close(figure)
    bundle = {"image/png": base64.b64encode(picture).decode("ascii"), "text/plain": _one_line(alt)}
    display(bundle, raw=True, metadata={"image/png": described})


def forms_of(figure: "Figure") -> dict[str, str]:
    """What else than a picture a figure is: ``svg``, ``narrow`` (for phones), ``csv`` where it has
    numbers of its own, ``drawn_by`` (the function's name) and ``cell`` (the chapter's code), the
    latter four where there are such."""
    from IPython import get_ipython
    from matplotlib import pyplot

    from dltlib import figures

    found = {"svg": figures.svg(figure)}
    if narrow := figures.narrow(figure):
        found["narrow"] = figures.svg(narrow)
        pyplot.close(narrow)
    numbers = figures.numbers_of(figure)
    if numbers is not None:
        found["csv"] = numbers.to_csv(index=False, float_format="%.6g")
    if draw := figures.drawn_by(figure):
        found["drawn_by"] = f"{draw.__module__}:{draw.__qualname__}"
    if shell := get_ipython():
        found["cell"] = shell.user_ns["In"][-1]
    return found


def written(forms: "Mapping[str, str]", site: Path, name: str, alt: str, to_root: str) -> str:
    """Put a figure's pictures into ``site/_figures``; returns the HTML that shows the one that
    fits the page's mode and width, from a page that reaches the site's root by ``to_root``."""
    from dltlib.figures import forms as figure_forms

    folder = site / "_figures"
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {}
    for form, kind in (("", "svg"), ("-narrow", "narrow")):
        if light := forms.get(kind, ""):
            (folder / f"{name}{form}.svg").write_text(light, encoding="utf-8")
            (folder / f"{name}{form}-dark.svg").write_text(
                figure_forms.dark(light), encoding="utf-8"
            )
            sizes[form] = _size(light)
    pictures = []
    for mode, suffix in (("light", ""), ("dark", "-dark")):
        at = f"{to_root}_figures/{name}"
        narrow = ""
        if "-narrow" in sizes:
            narrow = (
                f'<source media="screen and (max-width: {NARROW_SCREEN}px)" '
                f'srcset="{at}-narrow{suffix}.svg" {sizes["-narrow"]}>'
            )
        pictures.append(
            f'<picture>{narrow}<img class="only-{mode}" src="{at}{suffix}.svg" '
            f'alt="{html.escape(alt, quote=True)}" {sizes[""]} loading="lazy"></picture>'
        )
    return "".join(pictures)


def _size(vectors: str) -> str:
    """An SVG's size as HTML says it, in pixels."""
    return " ".join(
        f'{side}="{round(float(points) * _PIXELS_PER_INCH / _POINTS_PER_INCH)}"'
        for side, points in re.findall(r'(width|height)="([\d.]+)pt"', vectors)[:2]
    )


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
    label = html.escape(_one_line(caption), quote=True)
    # A region that can be focused, so that it scrolls by keyboard too; its caption stays in place.
    region = (
        f'<p class="table-caption">{_with_symbols(label)}</p>\n'
        f'<div class="table-region" role="region" aria-label="{label}" tabindex="0">'
    )
    rounded = frame if decimals is None else frame.round(decimals)
    display(
        {
            "text/html": f"{region}\n{body}\n</div>",
            "text/plain": f"{_one_line(caption)}\n{rounded.to_string(index=index, na_rep='')}",
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
    return _with_symbols(body)


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
    lines = filter(None, (_coded(answer), _coded(number), linked))
    body = "".join(f"<p>{line}</p>" for line in lines)
    display(
        {
            "text/html": '<div class="admonition note answer">'
            f'<p class="admonition-title">{_coded(question)}</p>{body}</div>',
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
    body = "".join(f"<p>{_coded(line)}</p>" for line in lines)
    display(
        {
            "text/html": f'<div class="basis"><p><strong>{title}</strong></p>{body}</div>',
            "text/plain": "\n".join((title, *lines)),
        },
        raw=True,
    )


def beside_the_paper(record: "Record") -> str:
    """A record's scale in a line: what is as in the paper, and what is less."""
    from dltlib import catalogue

    plan = record.plan
    told = []
    if plan["width"] != 1:
        told.append(f"{plan['width']:g} of the width")
    if plan["train_images"] is not None:
        whole = catalogue.DATASETS[plan["dataset"]].train
        told.append(f"{plan['train_images']:,} of {whole:,} training images")
    for name, whole in _counts_of_the_paper(record).items():
        of = "" if plan[name] >= whole else f" of the paper's {whole:,}"
        told.append(f"{plan[name]:,}{of} {name}")
    told += _other_rate(record)
    return f"`{record.name}`: {record.subject()}, {', '.join(told)}."


def smaller(record: "Record") -> bool:
    """Whether its width, images, seeds, epochs or rounds are less than the paper's."""
    plan = record.plan
    whole = _counts_of_the_paper(record)
    reduced = plan["width"] != 1 or plan["train_images"] is not None
    return reduced or any(plan[name] < count for name, count in whole.items())


def _counts_of_the_paper(record: "Record") -> dict[str, int]:
    """The paper's seeds, epochs and rounds (if any) for a record's experiment."""
    from dltlib import experiments

    plan = record.plan
    paper = experiments.plan(plan["experiment"], plan["network"], "paper")
    counts = {"seeds": paper.seeds, "epochs": paper.epochs, "rounds": paper.rounds}
    return {name: count for name, count in counts.items() if count}


def scale(record: "Record") -> str:
    """What of its network and data a record uses, and for how long: its scale for a table.

    >>> from dltlib import records
    >>> scale(records.read("supermasks-fc-paper"))
    'full width, all images, 55 epochs, 24 rounds, 5 seeds'
    >>> scale(records.read("criteria-fc-tiny"))
    'full width, all images, 8 epochs, 8 rounds, 3 seeds'
    """
    plan = record.plan
    images = plan["train_images"]
    told = [
        "full width" if plan["width"] == 1 else f"width {plan['width']:g}",
        "all images" if images is None else f"{images:,} images",
        f"{plan['epochs']:,} epochs",
    ]
    if plan["rounds"]:
        told.append(f"{plan['rounds']} rounds")
    told += _other_rate(record)
    return ", ".join([*told, f"{plan['seeds']} seed{'s' * (plan['seeds'] != 1)}"])


def titled(record: "Record") -> str:
    """A record's network and data, and the scale of both.

    >>> from dltlib import records
    >>> titled(records.read("criteria-fc-tiny"))
    'FC on digits, full width, all images, 8 epochs, 8 rounds, 3 seeds'
    """
    return f"{record.subject()}, {scale(record)}"


def fewer_seeds(record: "Record") -> str:
    """A sentence on what it means that a record has fewer seeds than the paper; empty if not."""
    from dltlib import claims

    ours, whole = record.plan["seeds"], _counts_of_the_paper(record)["seeds"]
    if ours >= whole:
        return ""
    if ours < claims.FEWEST:
        return f" Seeds are {ours} of the paper's {whole}, too few for an interval."
    wider = claims.half_width(1.0, ours) / claims.half_width(1.0, whole)
    return (
        f" Seeds are {ours} of the paper's {whole}: if they scatter alike, intervals are "
        f"{wider:.1f} times as wide."
    )


def learning_sooner(evidence: "Evidence", experiment: str, arm: str) -> str:
    """What a training shorter than the paper's may do for tickets, in two sentences: that they may
    learn faster than the dense network, and by how much theirs of moderate pruning do."""
    from dltlib import claims

    iterations = evidence.grid(experiment, arm, "early_iteration")
    moderate = evidence.window(experiment, arm, "moderate_pruning")
    sooner = claims.interval(iterations[moderate].mean(axis=1) - iterations[0])
    return (
        "Frankle and Carbin report that tickets learn faster than the dense network, so that "
        "little time would flatter them beside it. Here the best validation accuracy of rewound "
        f"tickets comes {abs(sooner.mean):.0f} iterations "
        f"{'earlier' if sooner.mean < 0 else 'later'} than the dense network's at moderate pruning "
        f"(difference {claims.bracketed(*sooner, 0)})."
    )


def _other_rate(record: "Record") -> list[str]:
    """The rate at which a network was trained, where it is not the paper's."""
    from dltlib import catalogue

    plan = record.plan
    ours, theirs = plan["learning_rate"], catalogue.NETWORKS[plan["network"]].learning_rate
    learned = catalogue.EXPERIMENTS[plan["experiment"]].kind == "learned_masks"
    return [] if learned or ours == theirs else [f"rate {ours:g} (the paper's {theirs:g})"]


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
    parts = [f"<p>{_coded(paragraph)}</p>" for paragraph in paragraphs]
    told = [title, *paragraphs]
    if frame is not None:
        label = html.escape(_one_line(title), quote=True)
        parts.append(
            f'<div class="table-region" role="region" aria-label="{label}" tabindex="0">'
            f"{_table(frame, True, None)}</div>"
        )
        told.append(frame.to_string(na_rep=""))
    display(
        {
            "text/html": f'<details class="fold"{anchor}><summary>{_coded(title)}</summary>'
            f"{''.join(parts)}</details>",
            "text/plain": "\n".join(told),
        },
        raw=True,
    )


def _coded(text: str) -> str:
    """Plain text as HTML: `code` in backticks, [words](address) as a link."""
    safe = _with_symbols(html.escape(_one_line(text)))
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", safe)
    return re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", r'<a href="\2">\1</a>', safe)


def _with_symbols(text: str) -> str:
    """The paper's w_i and w_f as formulas have them, in HTML."""
    return re.sub(r"\bw_([if])\b", r"<i>w</i><sub>\1</sub>", text)


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


mime_priority_overrides: tuple[()] = ()
"""Part of the interface of a myst-nb plugin: this one adds no MIME type."""


def handle_mime(renderer: Any, data: Any, inline: bool) -> list[Any] | None:
    """Render an image that `show` left (myst-nb asks this for every output of a notebook).

    `renderer` is myst-nb's element renderer, `data` its `MimeData`. Returns document nodes: a
    figure with its pictures, alt text, caption, forms and target; or None for anything else.
    """
    described = data.output_metadata.get(data.mime_type, {})
    if inline or data.mime_type != "image/png" or "alt" not in described:
        return None
    from docutils import nodes
    from myst_nb.core.render import create_figure_context

    parser = renderer.renderer
    holder = nodes.Element()
    paragraphs = [described["caption"], described["source"]]
    options = {"name": described["name"], "caption": "\n\n".join(filter(None, paragraphs))}
    with (
        parser.current_node_context(holder),
        create_figure_context(parser, options, data.line or 0),
    ):
        site = Path(parser.sphinx_env.app.outdir)
        to_root = "../" * parser.sphinx_env.docname.count("/")
        name = described["name"]
        forms = {kind: _unpacked(text) for kind, text in described["forms"].items()}
        picture = written(forms, site, name, described["alt"], to_root)
        link = f'<a class="figure-picture" href="{to_root}_figures/{name}.svg">{picture}</a>'
        parser.current_node.append(nodes.raw("", link, format="html"))
    handed = _handed_over(forms, site, name, to_root)
    holder.children[0].append(nodes.raw("", handed, format="html"))
    children: list[Any] = holder.children
    return children


def _handed_over(forms: "Mapping[str, str]", site: Path, name: str, to_root: str) -> str:
    """The line below a figure: links to its forms, which are written here."""
    links = [("larger", f"{name}.svg", "Larger"), ("svg", f"{name}.svg", "SVG")]
    if "csv" in forms:
        (site / "_figures" / f"{name}.csv").write_text(forms["csv"], encoding="utf-8")
        links.append(("csv", f"{name}.csv", "Data (CSV)"))
    (site / "_figures" / f"{name}.txt").write_text(_code_of(forms), encoding="utf-8")
    links.append(("code", f"{name}.txt", "Code"))
    items = "".join(
        f'<li><a class="figure-{kind}" href="{to_root}_figures/{file}"'
        f"{' download' if kind in ('svg', 'csv') else ''}>{text}"
        f'<span class="visually-hidden"> of {name}</span></a></li>'
        for kind, file, text in links
    )
    return f'<ul class="figure-forms">{items}</ul>'


def _code_of(forms: "Mapping[str, str]") -> str:
    """The chapter's cell and the function that drew a figure, as plain text."""
    parts = [f"# At commit {_commit()}."]
    if "cell" in forms:
        parts.append(f"# The cell of the chapter.\n\n{forms['cell'].strip()}")
    if "drawn_by" in forms:
        module, _, function = forms["drawn_by"].partition(":")
        source = inspect.getsource(getattr(importlib.import_module(module), function))
        file = f"{module.replace('.', '/')}.py"
        parts.append(f"# The function that draws, in {file}.\n\n{source.strip()}")
    return "\n\n\n".join(parts) + "\n"


@functools.cache
def _commit() -> str:
    from dltlib import records

    return records.commit()


def _in_palette(picture: io.BytesIO) -> tuple[bytes, int]:
    """A PNG in its 256 most telling colours, a quarter as large, and its width: what notebooks
    show. The site shows vectors."""
    from PIL import Image

    drawn = Image.open(picture).convert("RGB")
    few = drawn.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    few.save(buffer, format="png", optimize=True)
    return buffer.getvalue(), few.width


def _packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def _unpacked(text: str) -> str:
    return gzip.decompress(base64.b64decode(text)).decode()


def _one_line(text: str) -> str:
    return " ".join(text.split())

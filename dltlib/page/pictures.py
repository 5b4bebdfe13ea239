"""A figure from the chapter that draws it to the page that shows it, in all its forms."""

import base64
import functools
import gzip
import html
import importlib
import inspect
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dltlib.errors import UserError
from dltlib.page.words import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

DOTS_PER_INCH = 144
"""Resolution of figures: one and a half times a screen's, so that phones show them crisp."""
NARROW_SCREEN = 520
"""Pixels: on screens up to so wide, figures show their narrow form."""
SHORTEST_ALT = 30
"""Fewest characters of an alt text: less than that describes no figure."""

_PIXELS_PER_INCH, _POINTS_PER_INCH = 96, 72


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
        "alt": one_line(alt),
        "caption": one_line(caption),
        "source": one_line(source or ""),
        "name": name,
        "width": round(pixels * _PIXELS_PER_INCH / DOTS_PER_INCH),
        "forms": {kind: _packed(text) for kind, text in forms_of(figure).items()},
    }
    pyplot.close(figure)
    bundle = {"image/png": base64.b64encode(picture).decode("ascii"), "text/plain": one_line(alt)}
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

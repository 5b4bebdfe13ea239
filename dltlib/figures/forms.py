"""The forms in which a figure is handed over: vectors for light and dark pages, and its numbers.

The dark form is the light one with the lightness of every colour turned round, in a space where
equal steps look equal (Oklab), so that hues, and with them the arms, stay what they were. Nothing
has to know how a figure was drawn: vectors name their colours, and pictures inside them have
pixels.
"""

import base64
import io
import re

import matplotlib
import numpy as np
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from PIL import Image

MANY_POINTS = 300
"""More points than these become pixels: as vectors they would weigh more than the page."""
LIGHT_BACKGROUND, DARK_BACKGROUND = "#ffffff", "#14181e"
"""Of the site's pages, in its two modes."""

# Lightness of the dark form: white becomes the dark page, black nearly white, and what reads well
# on white (3:1) does so on the dark page too; tests/test_figures_forms.py holds the palette to it.
_DARKEST, _LIGHTEST, _BEND = 0.21, 0.95, 0.75
_RASTER = re.compile(r"data:image/png;base64,\s*([A-Za-z0-9+/=\s]+?)(?=\")")


def svg(figure: Figure) -> str:
    """The figure as vectors on no background; the same figure gives the same text."""
    for collection in figure.findobj(PathCollection):
        collection.set_rasterized(len(np.asarray(collection.get_offsets())) > MANY_POINTS)
    buffer = io.StringIO()
    # Letters as outlines: they look alike everywhere, and nothing has to be installed.
    with matplotlib.rc_context({"svg.hashsalt": "dltlib", "svg.fonttype": "path"}):
        figure.savefig(
            buffer,
            format="svg",
            dpi=144,
            bbox_inches="tight",
            transparent=True,
            metadata={"Date": None, "Creator": None},
        )
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def dark(vectors: str) -> str:
    """The same drawing for a dark page."""
    without_rasters = _RASTER.split(vectors)
    for place, part in enumerate(without_rasters):
        if place % 2:
            without_rasters[place] = f"data:image/png;base64,{_dark_raster(part)}"
        else:
            without_rasters[place] = re.sub(
                r"#[0-9a-fA-F]{6}\b", lambda match: dark_color(match[0]), part
            )
    # Letters in plain black name no colour; they take it from here.
    return "".join(without_rasters).replace("<svg ", f'<svg fill="{dark_color("#000000")}" ', 1)


def dark_color(color: str) -> str:
    """``#rrggbb`` for a dark page.

    >>> dark_color("#ffffff"), dark_color("#000000")
    ('#181818', '#eeeeee')
    """
    red, green, blue = np.round(255 * turned(_rgb(color))).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def contrast(color: str, background: str) -> float:
    """The ratio of two colours' luminances, 1 to 21, as the WCAG (accessibility) define it."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    bright, dim = sorted(float(_linear(_rgb(one)) @ weights) for one in (color, background))[::-1]
    return (bright + 0.05) / (dim + 0.05)


def _rgb(color: str) -> np.ndarray:
    return np.array([int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)])


def _dark_raster(content: str) -> str:
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGBA"))
    result = pixels.copy()
    result[..., :3] = np.round(255 * turned(pixels[..., :3] / 255))
    buffer = io.BytesIO()
    Image.fromarray(result).save(buffer, format="png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


# Björn Ottosson's Oklab (2020): linear sRGB to cone responses, and their cube roots to Lab.
_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def turned(colors: np.ndarray) -> np.ndarray:
    """sRGB colours ``[..., 3]`` from 0 to 1, with their lightness turned round."""
    lab = np.cbrt(_linear(colors) @ _CONES.T) @ _LAB.T
    light = np.clip(lab[..., :1], 0, 1)
    lightness = _DARKEST + (_LIGHTEST - _DARKEST) * (1 - light) ** _BEND
    # A colour that the screen lacks at that lightness becomes paler until it has it.
    result = np.full(colors.shape, np.nan)
    for chroma in np.linspace(1, 0, 11):
        tried = np.concatenate([lightness, chroma * lab[..., 1:]], axis=-1)
        linear = ((tried @ np.linalg.inv(_LAB).T) ** 3) @ np.linalg.inv(_CONES).T
        fits = ((linear > -1e-4) & (linear < 1 + 1e-4)).all(-1, keepdims=True)
        result = np.where(np.isnan(result) & fits, _encoded(linear), result)
    return result


def _linear(encoded: np.ndarray) -> np.ndarray:
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def _encoded(linear: np.ndarray) -> np.ndarray:
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)

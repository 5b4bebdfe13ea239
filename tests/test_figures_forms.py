"""Figures as they are handed over: legible in both modes, the same in each, with their numbers."""

import io
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.text import Text

from dltlib import figures
from dltlib.figures import ends, forms, styles
from dltlib.figures.styles import LEARNED, STYLES

LEAST_CONTRAST = 3.0  # of graphics, by the guidelines for accessible pages
COLORS = {drawn.color for drawn in (*STYLES.values(), *LEARNED.values())} | {
    *figures.NETWORK_COLORS.values(),
    *(drawn.color for drawn in figures.WAYS.values()),
}


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def many_arms(count: int) -> pd.DataFrame:
    """Two seeds of as many criteria, which all do equally well until the last round."""
    arms = [f"{name}/rewind/zero" for name in list(STYLES)[:count]]
    return pd.DataFrame(
        [
            {
                "arm": arm,
                "seed": seed,
                "round": number,
                "density": 0.5**number,
                "test_accuracy": 0.9 + 0.01 * seed - (number == 3) * 0.001 * place,
            }
            for place, arm in enumerate(arms)
            for seed in range(2)
            for number in range(4)
        ]
    )


@pytest.mark.parametrize("color", sorted(COLORS))
def test_every_colour_stands_out_in_light_and_dark(color: str) -> None:
    assert forms.contrast(color, forms.LIGHT_BACKGROUND) >= LEAST_CONTRAST
    assert forms.contrast(forms.dark_color(color), forms.DARK_BACKGROUND) >= LEAST_CONTRAST


def test_contrast_is_the_guidelines() -> None:
    assert forms.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert forms.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_colours_stay_apart_in_the_dark() -> None:
    dark = [forms.dark_color(color) for color in sorted(COLORS)]
    assert len(set(dark)) == len(dark)


def test_the_same_figure_gives_the_same_vectors_and_the_dark_form_other_colours_only() -> None:
    table = many_arms(3)
    one, other = (forms.svg(figures.accuracy_curves(table)) for _ in range(2))
    assert one == other
    dark = forms.dark(one)
    blank = re.compile(r"#[0-9a-f]{6}\b")
    assert blank.sub("", dark).replace(' fill=""', "") == blank.sub("", one)
    assert figures.BLUE.lower() in one.lower()
    assert forms.dark_color(figures.BLUE) in dark


def test_many_points_become_pixels_that_turn_dark_too() -> None:
    figure, ax = pyplot.subplots()
    places = np.linspace(0, 1, forms.MANY_POINTS + 1)
    ax.scatter(places, places, color="#000000")
    light = forms.svg(figure)
    assert light.count("<image") == 1
    images = [re.search(r'base64,([^"]+)"', text)[1] for text in (light, forms.dark(light))]
    assert images[0] != images[1]


def test_the_dark_form_of_a_pixel_is_that_of_its_colour() -> None:
    given = np.array([[[0, 0x72, 0xB2], [255, 255, 255]]]) / 255
    found = np.round(255 * forms.turned(given)).astype(int)[0]
    expected = [forms.dark_color(color) for color in ("#0072B2", "#ffffff")]
    assert [f"#{bytes(pixel.tolist()).hex()}" for pixel in found] == expected


def test_a_figure_knows_its_numbers_and_who_drew_it() -> None:
    table = many_arms(2)
    figure = figures.accuracy_curves(table)
    assert figures.drawn_by(figure).__name__ == "accuracy_curves"
    pd.testing.assert_frame_equal(figures.numbers_of(figure), figures.curves(table))
    assert styles.numbers_of(pyplot.figure()) is None


# --- names at the ends of lines -----------------------------------------------------------------


def written(figure) -> list[str]:
    """Names beside the panels of a figure, from top to bottom."""
    texts = [text for ax in figure.axes for text in ax.texts]
    return [text.get_text() for text in sorted(texts, key=lambda text: -text.xyann[1])]


PHONE = 328  # pixels of a figure on a screen of 360


@pytest.mark.parametrize("criteria", [3, 9])  # a legend below, names at the ends
def test_the_form_for_phones_has_letters_that_can_be_read(criteria: int) -> None:
    figure = figures.accuracy_curves(many_arms(criteria))
    phone = styles.narrow(figure)
    wide, narrow = (
        float(re.search(r'width="([\d.]+)pt"', forms.svg(one))[1]) for one in (figure, phone)
    )
    least = min(text.get_fontsize() for text in phone.findobj(Text) if text.get_text())
    assert least * PHONE / narrow > 9 > least * PHONE / wide
    assert {text.get_text() for text in phone.findobj(Text)} >= {
        line.get_label() for line in ends.named_lines(figure.axes[0])
    }


def test_a_figure_that_was_changed_or_drawn_elsewhere_has_no_form_for_phones() -> None:
    figure = figures.accuracy_curves(many_arms(3))
    forms.svg(figure)  # drawing it is no change
    assert styles.narrow(figure) is not None
    figure.axes[0].set_ylim(0, 50)
    assert styles.narrow(figure) is None
    assert styles.narrow(pyplot.figure()) is None


def test_names_stand_as_high_as_their_peaks_where_lines_come_together() -> None:
    figure, ax = pyplot.subplots()
    for height in range(6):
        ax.plot([0, 1, 2], [0, 1 + height, 0], label=f"line {height}")
    ends.name_lines(figure, ax, peaks=True)
    heights = [text.xyann[1] for text in ax.texts]
    assert [text.get_text() for text in ax.texts] == [f"line {number}" for number in range(6)]
    assert np.diff(heights).min() > 0
    assert heights[-1] > 0.8


def test_few_lines_have_a_legend_and_many_are_named_where_they_end() -> None:
    few = figures.accuracy_curves(many_arms(3))
    assert len(few.legends) == 1
    assert written(few) == []
    many = figures.accuracy_curves(many_arms(6))
    assert many.legends == []
    names = written(many)
    assert set(names[:2]) == {"dense network", list(STYLES)[0]}  # these two end in one height
    assert names[2:] == list(STYLES)[1:6]


def test_names_keep_apart_and_move_no_further_than_they_must() -> None:
    found = ends.spread([0.0, 0.1, 0.1, 0.8, 2.0], 0.3)
    assert (np.diff(found) >= 0.3 - 1e-12).all()
    assert found[-1] == 2.0
    assert found[:3].mean() == pytest.approx(0.2 / 3)
    assert ends.spread([], 0.3).tolist() == []


def test_a_line_that_has_left_the_panel_is_not_named_in_it() -> None:
    table = many_arms(6)
    figure = figures.accuracy_curves(table, zoom=(90.15, 92))
    upper, lower = figure.axes
    assert {text.get_text() for text in upper.texts} == {"dense network", *list(STYLES)[:4]}
    assert len(lower.texts) == 7


def test_lines_that_coincide_take_turns_with_their_markers() -> None:
    figure = figures.accuracy_curves(many_arms(4))
    drawn = [
        line for line in ends.named_lines(figure.axes[0]) if line.get_marker() not in ("None", "")
    ]
    assert len({line.get_marker() for line in drawn}) == 4
    assert len({line.get_markevery()[0] for line in drawn}) == 4


def test_vectors_can_be_read_by_anyone() -> None:
    from xml.etree import ElementTree

    text = forms.svg(figures.accuracy_curves(many_arms(6)))
    root = ElementTree.parse(io.StringIO(text)).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "<text" not in text  # outlines: no font is needed

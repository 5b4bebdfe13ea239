"""The numbers that the figures of the chapter on speed show."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot

from dltlib import figures


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    pyplot.close("all")


def times(column: str, values: list[float], ways: list[str]) -> pd.DataFrame:
    rows = [
        {"way": way, "round": round_, "density": 0.8**round_, "replicas": 9, "width": 1.0}
        | {column: value, "low": median * 0.9, "median": median, "high": median * 1.2}
        for number, way in enumerate(ways)
        for round_ in (0, 10)
        for value, median in zip(values, (0.7 + number, 0.3 + number, 0.1 + number), strict=True)
    ]
    return pd.DataFrame(rows)


def test_costs_fall_from_left_to_right() -> None:
    table = times("density", [1.0, 0.2, 0.05], list(figures.WAYS))
    table = table[table["round"] == 0]
    (ax,) = figures.cost_curves(table).axes
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert list(lines) == ["this library", "plain loop", "plain loop, fused Adam"]
    assert lines["this library"].get_xdata().tolist() == pytest.approx([100, 20, 5])
    assert lines["this library"].get_ydata().tolist() == pytest.approx([0.7, 0.3, 0.1])
    assert ax.get_xlim()[0] > ax.get_xlim()[1]
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((0.09, 0.84))


def test_growth_by_replicas_and_width() -> None:
    replicas = times("replicas", [1, 9, 45], ["engine"])
    widths = times("width", [0.25, 1.0, 2.0], ["engine", "plain"])
    left, right = figures.growth_panels(replicas, widths).axes
    assert [line.get_xdata().tolist() for line in left.get_lines()] == [[1, 9, 45]] * 2
    assert len(right.get_lines()) == 4
    assert np.allclose(right.get_lines()[2].get_ydata(), [1.7, 1.3, 1.1])
    assert right.get_lines()[1].get_label() == "this library, 11 % left"
    assert [text.get_text() for text in right.get_xticklabels()] == ["0.25", "1", "2"]


def test_gains_by_network_and_width() -> None:
    rows = [
        {"network": network, "width": width, "density": density, "median": gain}
        for network in ("conv2", "conv4")
        for width in (0.25, 1.0)
        for density, gain in ((0.1, 4.0 * width), (1.0, 2.0 * width))
    ]
    table = pd.DataFrame(rows)
    table["low"], table["high"] = table["median"] * 0.9, table["median"] * 1.2
    (ax,) = figures.gain_curves(table).axes
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert lines["Conv4, width 1"].get_xdata().tolist() == pytest.approx([100, 10])
    assert lines["Conv4, width 1"].get_ydata().tolist() == pytest.approx([2, 4])
    assert lines["Conv2, width 0.25"].is_dashed()
    assert lines["Conv2, width 0.25"].get_color() == lines["Conv2, width 1"].get_color()

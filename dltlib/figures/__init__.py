"""The book's figures, one function each, and the look that they share.

A function takes a record's table (or arrays), draws with seaborn and returns the figure;
`page.show` puts it on the page. What is plotted is computed apart from the drawing (`curves`,
`criterion_margin`, ...), so that tests look at numbers, not at pixels.

An arm has one colour through the whole book (`style`), from Okabe and Ito's palette, which
colour-blind readers can tell apart; where two arms are a pair (large and small) they share the
colour and differ by the line's dashes. Mask-1 actions with kept signs are greens, those with random
signs reds, and one action has the same dashes in both.
"""

from dltlib.figures.accuracy import (
    accuracy_curves,
    accuracy_table,
    curves,
    dense_baseline,
    density_axis,
    draw_curves,
    draw_dense,
    finish_panels,
    lead,
    nearest_round,
    percent,
    ranked,
    top_of_scale,
)
from dltlib.figures.actions import (
    FATES,
    FROZEN_AT_INITIAL,
    FROZEN_AT_ZERO,
    TRAINED,
    TRAINED_FROM_ZERO,
    accuracy_panels,
    at_same_density,
    fate_scatter,
    fates,
    lead_curves,
    own_density,
    share_curves,
    shrunk_by_round,
    shrunk_chart,
    shrunk_shares,
    start_scatter,
)
from dltlib.figures.algorithm import history_curves, unit_pictures
from dltlib.figures.ends import label_ends, legend_below, name_lines
from dltlib.figures.forms import dark, dark_color, svg
from dltlib.figures.masks import (
    SCALING_NAMES,
    VALUE_NAMES,
    best_masks,
    by_training_time,
    epoch_curves,
    layer_densities,
    layer_density_curves,
    mask_curves,
    pixel_maps,
    pixel_shares,
    probability_histogram,
    probability_panels,
    training_time_curves,
    untouched_pixels,
    variant_name,
)
from dltlib.figures.regions import (
    Margin,
    criterion_margin,
    criterion_regions,
    kept,
    overlap,
    overlap_chart,
    region_series,
)
from dltlib.figures.speed import WAYS, cost_curves, gain_curves, growth_panels
from dltlib.figures.styles import (
    BLACK,
    BLUE,
    BROWN,
    DASHED,
    DOTTED,
    GREEN,
    GREY,
    LEARNED,
    NARROW,
    ORANGE,
    PURPLE,
    SKY,
    STYLES,
    VERMILION,
    WIDTH,
    Style,
    drawn_by,
    hand_over,
    labels,
    look,
    narrow,
    numbers_of,
    style,
)
from dltlib.figures.thumbnails import (
    accuracy_thumbnail,
    lead_thumbnail,
    learning_thumbnail,
)
from dltlib.figures.verdicts import NETWORK_COLORS, NETWORK_NAMES, distances, scorecard

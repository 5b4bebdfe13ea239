"""The paper's claims as functions of records: effect, interval, verdict (section 7 of the paper).

A claim is one or more comparisons; a comparison is an effect, one number for each seed, that must
lie above a bar. All of them are written so that higher is better for the claim, in percentage
points of test accuracy at early stopping unless their unit says otherwise. Arms that share a seed
share initial weights and data order, so differences are taken seed by seed, and the interval of
their mean is Student's (`interval`).

A comparison is *reproduced* if its whole interval lies above its bar, *not reproduced* if its whole
interval lies below, and *undecided*, with the reason, otherwise: no record, too few seeds, pruned
too little, or an interval that spans the bar. A claim is reproduced if all its comparisons are,
not reproduced if one of them is *not reproduced*, and undecided otherwise. Its effect is that of
its weakest comparison among those that decide its verdict: the one whose effect lies lowest over
its bar.

The bars, windows and claims below were written and committed before any of the book's records on
MNIST or CIFAR-10 was made: the history of this file and of ``book/records`` shows it. (Small trial
records on digits, which the paper does not use, served to try the code.) Where a threshold turned
out to be badly made it stays, and the claim is registered a second time, with the argument and the
date beside it, before the records that it is meant for: supermask-3b.
"""

from dltlib.claims.evidence import Evidence, Undecided
from dltlib.claims.judging import NETWORKS, Shelf, judge, scorecard
from dltlib.claims.measures import (
    Measure,
    best_learned_mask,
    best_masks,
    by_mean,
    criterion_mask,
    dense,
    errors_mended,
    learned,
    learned_mask,
    rescaling_gain,
    share_among_pruned,
    slope,
    ticket,
    trained,
)
from dltlib.claims.others import GUNDA, SIGNED_SUPERMASKS, TAOUDI, beside
from dltlib.claims.paper import (
    ALL_NETWORKS,
    CLAIMS,
    DEEP,
    NEW_VALUES,
    OTHERS,
    OUR_TABLE_2,
    PAIRS,
    SHALLOW,
    WORKING,
    Claim,
    claim,
    foretold,
)
from dltlib.claims.readings import (
    Reading,
    and_corrected,
    corrected,
    holds,
    readings,
    readings_of,
    robustness,
)
from dltlib.claims.statistics import (
    ERRORS,
    FEWEST,
    NOT_MEASURED,
    NOT_REPRODUCED,
    OUTCOMES,
    PERCENT,
    POINTS,
    REPRODUCED,
    SLOPE,
    UNDECIDED,
    VERDICTS,
    Comparison,
    Interval,
    Part,
    Result,
    at_confidence,
    combine,
    compare,
    half_width,
    interval,
    rank_correlation,
    seeds_to_decide,
)
from dltlib.claims.tables import (
    FAILED,
    after_learning,
    bracketed,
    by_length,
    comparisons,
    count,
    describe,
    frame,
    in_brackets,
    last_gains,
    pilot,
    table_2,
    table_2_in_words,
    would_take,
)
from dltlib.claims.thresholds import CHANCE, FIRST_THRESHOLDS, THRESHOLDS, Thresholds

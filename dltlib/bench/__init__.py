"""How fast: this engine against the loop that a user would write, in one run, taking turns.

Every measurement is a `Case` that can do so many iterations. The cases of a part take turns, round
after round, so that whatever else the machine does meets them all; a ratio is taken within a
repetition and reported as a median with the range from the 10th to the 90th percentile. Evaluation
is in no case, and the batches' indices are drawn before the clock starts, on either side.

The result is one JSON file (`write`, `read`): it holds times, which differ from run to run, so it
is no record of an experiment; `dltlib.records` holds those.
"""

from dltlib.bench.cases import CONV_ROUNDS, FULL, QUICK, ROUNDS, Case, Effort, gpu_cases
from dltlib.bench.measuring import LIT, load_images, run, take_turns
from dltlib.bench.results import (
    EPOCHS,
    LEARNED,
    SEEDS,
    Bench,
    all_ratios,
    arm_ratio,
    conv_part,
    conv_parts,
    conv_ratios,
    describe,
    gpu_speeds,
    peaks,
    programme_hours,
    ratios,
    read,
    record_path,
    shares_of_peak,
    times,
    times_of_arithmetic,
    write,
)
from dltlib.bench.sides import arithmetic, engine, plain_loop

# ---
# jupyter:
#   dltlib:
#     records:
#     - zeros-*
#     - criteria-*
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# (zeros)=
# # What becomes of the pruned weights
#

# %% tags=["parameters"]
preset = None  # whose records are shown: paper, cpu or tiny; None: the largest there is
at_density = 0.05  # the share of weights left at which the text compares arms

# %% tags=["remove-cell"]
import pandas as pd

from dltlib import claims, experiments, figures, page, records

ZERO = "large_final/rewind/zero"
FROZEN, VARIANT_1, VARIANT_2, TO_ZERO = (
    f"large_final/rewind/{name}"
    for name in ("freeze_init", "variant_1", "variant_2", "move_to_zero")
)

ARMS = [ZERO, FROZEN, VARIANT_1, VARIANT_2, TO_ZERO]
TITLES = figures.NETWORK_NAMES

record = records.read(records.largest("zeros", "fc", preset))
criteria_record = records.read(records.largest("criteria", "fc", preset))
table = record.table
evidence = {("zeros", "fc"): record, ("criteria", "fc"): criteria_record}
results = [claims.judge(name, evidence, "fc") for name in claims.CLAIMS if name.startswith("zeros")]

others = records.others("zeros", record)
convolutional = [other for other in others if other.plan["network"].startswith("conv")]
at = figures.nearest_round(table, at_density, ZERO)
means = 100 * figures.curves(table).set_index(["arm", "round"])["mean"]
rows = table[table["arm"] == ZERO]
density = 100 * rows.loc[rows["round"] == at, "density"].mean()


def ranged(rounds):
    """The densities of some rounds in words, from dense to sparse, rounds in a row as one range."""
    row = (rounds["round"].diff() != 1).cumsum()
    words = []
    for _, part in rounds.groupby(row):
        left = [figures.percent(share) for share in part["density"]]
        words.append(left[0] if len(left) == 1 else f"{left[0]} to {left[-1]}")
    return ", ".join(words)


def clear_rounds(lead, reference=ZERO):
    """An action's lead over another by round; the rounds with the whole interval below zero, and
    those with it above."""
    known = figures.curves(figures.lead(table, reference), [lead], "lead")
    known = known[known["round"] > 0]
    return known, known[known["high"] < 0], known[known["low"] > 0]


def told(lead, reference=ZERO):
    """Where an action is ahead of another, and where behind, with the whole interval."""
    known, behind, ahead = clear_rounds(lead, reference)
    words = [
        f"clearly {word} at {ranged(part)} left ({len(part)} of {len(known)} rounds)"
        for word, part in (("behind", behind), ("ahead", ahead))
        if len(part)
    ]
    return " and ".join(words) or f"nowhere clearly ahead or behind in {len(known)} rounds"


looked_from, looked_to = (100 * end for end in claims.THRESHOLDS.any_pruning)
window = f"densities from {looked_from:g} to {looked_to:g} %"
print(f"records {record.name}, {criteria_record.name}")
print(f"arms compared near {100 * at_density:g} % of weights left")

held, lead = claims.readings_of(results[0]), results[0].weakest
verdict_in_words = {
    claims.REPRODUCED: "Because in the mean over sizes it is better, if only by a little"
    + (
        "."
        if all(one.verdict == claims.REPRODUCED for one in held)
        else ", and not by every way of reading the records."
    ),
    claims.NOT_REPRODUCED: "In the mean it is no better than leaving them.",
    claims.UNDECIDED: "Whether it is better in the mean is undecided.",
}[results[0].verdict]

by_direction = {
    claims.REPRODUCED: "To give each pruned weight the value that its own direction asks for is as good where little is pruned, and better where much is.",
    claims.NOT_REPRODUCED: "To give each pruned weight the value that its own direction asks for does not do what the paper says.",
    claims.UNDECIDED: "Whether it is better still to give each the value that its own direction asks for is undecided.",
}[results[1].verdict]

# %% tags=["remove-input"]
page.answer(
    question="Why set pruned weights to zero, and not leave them where they were?",
    answer=f"{verdict_in_words} {by_direction}",
    number=f"In the mean over {window} zeroing is "
    f"{page.apart(*(share / 100 for share in (lead.effect, lead.low, lead.high)), 'freezing at the initial values')}, in test accuracy (mean and 95 % interval).",
    results=results,
)

# %% tags=["remove-input", "margin"]
page.basis(record, criteria_record)

# %% [markdown]
# To prune a weight is to set it to zero. That seems to need no reason, and yet it does two things: the weight is no
# longer trained, and it takes one particular value. A pruned weight could as well stop where it is. If
# the criterion merely finds weights that do not matter, their value should not matter either.
#
# Section 4 of the paper {cite:p}`zhou2019deconstructing` tries other values. The criterion stays (large final
# weights are kept), the kept weights are rewound, and only the {term}`mask-0 action` changes:
#
# | action | pruned weights, frozen | kept weights, trained |
# |---|---|---|
# | `zero` | at 0 | from $w_i$ |
# | `freeze_init` | at $w_i$ | from $w_i$ |
# | `variant_1` | at 0 if training had moved them towards zero, else at $w_i$ | from $w_i$ |
# | `variant_2` | as `variant_1` | from 0 if training had moved them towards zero, else from $w_i$ |
# | `move_to_zero` | at 0: all that training moved towards zero, and no others | from $w_i$ |
#
# A weight *moved towards zero* if training left it smaller than it was, $|w_f| < |w_i|$. The paper found zero better
# than $w_i$, and explains it so: the weights that large_final prunes, those that end small, were mostly on their way
# to zero. Setting them there goes the rest of the way for them. **Masking is training**: the choice of the
# mask has already done some of what training would do.
#
# Two things follow that can be tried. Treat each pruned weight by its own direction, and the network should do
# better still: that is what the variants are for. And other criteria that work
# should turn out to zero weights that were heading for zero, criteria that fail should not.
#
# The last action is another interpretation of the second variant, met in two reading notes on the paper: no
# criterion at all, only directions. How much it prunes is up to training. ({doc}`algorithm` explains
# the words {term}`arm`, {term}`round` and {term}`density`.)
#
# ## Five fates
#
# Again a real layer first. The next cell trains a network on digits, keeps the
# half of the first layer's weights that ended largest, and asks each action what becomes of every weight.

# %%
import dataclasses

import torch

from dltlib import actions, catalogue, criteria, datasets, figures, networks, pruning, training
from dltlib.history import History

digits = datasets.load("digits")
network = networks.build("fc", digits.input_shape)
initial = networks.initial_weights(network, seeds=[0])
full = [torch.ones_like(weight, dtype=torch.bool) for weight in initial]
settings = training.Settings(epochs=8, learning_rate=1.2e-3)
trained = training.train(network, digits, initial, full, [0], settings)

layer = network.layers[0]
history = History(layer, [0], 1, initial[0], trained.weights[0], full[0])  # seed 0, round 1
large = pruning.next_mask(criteria.CRITERIA["large_final"], history, 0.5)
fates = {}
for name in catalogue.PAPER_MASK0_ACTIONS:
    action = actions.MASK0_ACTIONS[name]
    mask = action.kept(history) if action.kept else large
    start = actions.start_values(dataclasses.replace(history, mask=mask), "rewind", name)
    w_i, w_f, start, mask = (
        x[0].numpy().ravel() for x in (history.initial, history.final, start, mask)
    )
    fates[name] = figures.fates(w_i, start, mask)

# %% tags=["remove-input"]
page.show(
    figures.fate_scatter(w_i, w_f, fates),
    name="fig-zeros-fates",
    alt="Five scatter plots of final against initial weights, coloured by what becomes of each "
    "weight. With zero and freeze_init a horizontal band about zero is pruned; variant_1 splits the "
    "band along the diagonals, variant_2 the kept weights too; move_to_zero prunes the two wedges "
    "left and right of where the diagonals cross.",
    caption="What each action makes of the weights of one layer, trained on digits; half are kept, "
    r"except by move_to_zero. Left and right of where the diagonals cross, $|w_f| < |w_i|$: these "
    "weights moved towards zero.",
    source=f"Made by the cell above: {layer.shape[0]} inputs, {layer.shape[1]} units, seed 0.",
)
shrunk = actions.moved_towards_zero(history.initial, history.final)
page.glue(
    zeros_example_shrunk=round(100 * shrunk.float().mean().item()),
    zeros_example_pruned_shrunk=round(100 * shrunk[~large].float().mean().item()),
    zeros_example_kept_shrunk=round(100 * shrunk[large].float().mean().item()),
)

# %% [markdown]
# Of all weights of this layer, {glue:text}`zeros_example_shrunk` % moved towards zero; of the half that large_final prunes,
# {glue:text}`zeros_example_pruned_shrunk` %, of the half that it keeps {glue:text}`zeros_example_kept_shrunk` %. So direction
# and criterion agree in part, and the two wedges and the band of {numref}`fig-zeros-fates` show where.
#
# Note what the share of weights left means here. With `zero` and `move_to_zero` pruned weights are gone. A weight
# frozen at $w_i$ still takes part in every forward pass, only no longer in training: such a
# network is as large as it ever was.
#
# ## Accuracy against weights left

# %% tags=["remove-input"]
page.show(
    figures.accuracy_curves(table, ARMS, zoom=figures.top_of_scale(table, ARMS)),
    name="fig-zeros-accuracy",
    alt="Test accuracy against the share of weights left on a falling log axis, five mask-0 actions "
    f"and the dense network. With {density:.1f} % of weights left, zero reaches "
    f"{means[ZERO, at]:.1f} %, freeze_init {means[FROZEN, at]:.1f} %, variant_1 "
    f"{means[VARIANT_1, at]:.1f} %, variant_2 {means[VARIANT_2, at]:.1f} %.",
    caption="Test accuracy at early stopping against the share of weights that are still trained, "
    "five mask-0 actions. Mean and 95 % interval over seeds.",
    source=record.provenance(),
)
page.table(
    figures.accuracy_table(
        table, (0.4, 0.2, 0.05, 0.02, 0.01), [ZERO, FROZEN, VARIANT_1, VARIANT_2]
    ).rename_axis(index=None, columns="weights left"),
    caption="Test accuracy in percent, mean ± half the width of its 95 % interval.",
)


def compared(arm, reference=ZERO, number=at):
    """Mean and interval of an arm's lead in a round, that which the text speaks of by default."""
    leads = figures.lead(table, reference)
    known = figures.curves(leads[leads["round"] == number], [arm], "lead")
    return known.loc[0, ["mean", "low", "high"]]


final_round = rows["round"].max()


known, behind, ahead = clear_rounds(FROZEN)
first = table[table["round"] == 1].groupby("arm")["pruned_shrunk_share"].mean()
reached = rows.groupby("round")["density"].mean()
looked = reached[(reached.index > 0) & reached.between(*claims.THRESHOLDS.any_pruning)].index
page.glue(
    zeros_crossing=told(FROZEN),
    zeros_depends={
        (False, False): "In no round can the two be told apart.",
        (True, False): "Where they can be told apart, it is.",
        (False, True): "Nowhere clearly; where they can be told apart, it is not.",
        (True, True): "It depends on how much is left, and one verdict cannot say that.",
    }[bool(len(behind)), bool(len(ahead))],
    zeros_by_chance=f"{len(known) * (1 - claims.THRESHOLDS.confidence):.0f}",
    zeros_window=window,
    zeros_mean=claims.in_brackets(results[0].weakest),
    zeros_apart=(means[FROZEN][looked] - means[ZERO][looked]).abs().max(),
    zeros_dense=means[ZERO, 0],
    zeros_variant_1_told=told(VARIANT_1),
    zeros_variant_2_told=told(VARIANT_2),
    zeros_variants=told(VARIANT_2, VARIANT_1),
    zeros_end=100 * rows.loc[rows["round"] == final_round, "density"].mean(),
    zeros_frozen_end=page.apart(*compared(FROZEN, number=final_round), "zeroing"),
    zeros_variant_1_end=page.apart(*compared(VARIANT_1, number=final_round), "it"),
    zeros_zeroed_first=100 * first[VARIANT_1],
)

# %% [markdown]
# The dense network reaches {glue:text}`zeros_dense:.2f` %. Whether pruned weights are zeroed or frozen at their initial values makes little difference for long: in no round at
# {glue:text}`zeros_window` do the two means lie further apart than {glue:text}`zeros_apart:.2f` points. As in {doc}`signs`, differences are taken seed by seed.

# %% tags=["remove-input"]
page.show(
    figures.lead_curves(
        table, ZERO, {"frozen at $w_i$": [FROZEN], "by direction": [VARIANT_1, VARIANT_2]}
    ),
    name="fig-zeros-leads",
    alt="Differences of test accuracy from zeroing, in percentage points, against the share of "
    f"weights left, in two panels. With {density:.1f} % of weights left, freeze_init lies "
    f"{page.apart(*compared(FROZEN), 'it')}, variant_1 {page.apart(*compared(VARIANT_1), 'it')}, "
    f"variant_2 {page.apart(*compared(VARIANT_2), 'it')}.",
    caption="What each action gains or loses against zeroing, in percentage points, paired by seed: "
    "mean and 95 % interval. Mind the two scales.",
    source=record.provenance(),
)

# %% [markdown]
# The variants give each pruned weight the value that its own direction asks for. In round 1,
# {glue:text}`zeros_zeroed_first:.0f` % of what is pruned had moved towards zero and is put there, and the rest stays at
# $w_i$. Against `zero`, with the whole interval on one side, `variant_1` lies {glue:text}`zeros_variant_1_told`, and `variant_2`, which also starts the shrinking ones among the
# kept weights from zero, {glue:text}`zeros_variant_2_told`. Against the first variant the second lies {glue:text}`zeros_variants`.
#
# So is zeroing better than freezing? {glue:text}`zeros_depends` Against `zero`,
# `freeze_init` lies {glue:text}`zeros_crossing`. (Each round has an interval of its own: by chance alone about {glue:text}`zeros_by_chance` of so many
# would stand out.) The claim is judged by the mean over {glue:text}`zeros_window`, as was registered: zeroing less freezing, {glue:text}`zeros_mean` points.
# The table of readings below says what becomes of the verdict when that window ends elsewhere.
#
# Right at the end of the curves, with {glue:text}`zeros_end:.1f` % in training, `freeze_init` lies {glue:text}`zeros_frozen_end`,
# and `variant_1` {glue:text}`zeros_variant_1_end` (in brackets the 95 % interval). Mind that these are not networks of one size: what is frozen at $w_i$ still
# passes something on, what is zero does not.
#
# ### The plane, to play with
#
# Which weights move towards zero, and which does a criterion prune? The weights that moved towards zero lie left and right of where the diagonals cross.

# %% tags=["remove-input"]
page.plane(criteria_record, criterion="large_final", other="movement")

# %% [markdown]
# ## Direction alone
#
# `move_to_zero` has no share to keep. It prunes what the last training made smaller, and
# would come to rest once training made nothing smaller any more. {numref}`fig-zeros-own-density` shows how far that leads.

# %% tags=["remove-input"]
beside = figures.at_same_density(table, TO_ZERO, ZERO)
rounds = beside["round"].max()
own = 100 * beside.groupby("round")["density"].mean()
last = beside[beside["round"] == rounds]
lead = claims.interval(last["lead"])
page.show(
    figures.own_density(table, TO_ZERO, ZERO),
    name="fig-zeros-own-density",
    alt="Two panels. Above, the share of weights left in each round: with move_to_zero it falls to "
    f"{own[1]:.0f} % in the first round and {own[rounds]:.1f} % in the last, with zero on a steady "
    "course to fewer. Below, test accuracy against the share of weights left for both.",
    caption="*Above*: the share of weights left, round by round, where directions alone decide "
    "(move_to_zero) and where a fixed share is kept (zero). *Below*: the accuracy of both at the "
    "densities that they reach. Means and 95 % intervals over seeds.",
    source=record.provenance(),
)
gained = beside.groupby("seed")["lead"].mean()
page.glue(
    zeros_own_first=own[1],
    zeros_own_second=own[min(2, rounds)],
    zeros_own_last=own[rounds],
    zeros_own_rounds=rounds,
    zeros_own_step=own[rounds - 1] - own[rounds],
    zeros_own_rest="so it had not come to rest"
    if own[rounds - 1] - own[rounds] >= 0.005
    else "so it had come to rest",
    zeros_own_accuracy=100 * last["test_accuracy"].mean(),
    zeros_own_lead=page.apart(*lead, "what zero reaches"),
    zeros_own_mean_lead=page.apart(*claims.interval(gained), "it"),
)

# %% [markdown]
# The first training moves so many weights towards zero that {glue:text}`zeros_own_first:.1f` % are left, the second leaves
# {glue:text}`zeros_own_second:.1f` %, and after {glue:text}`zeros_own_rounds` rounds {glue:text}`zeros_own_last:.1f` % remain; the last
# round took {glue:text}`zeros_own_step:.2f` points of them, {glue:text}`zeros_own_rest`. What remains reaches {glue:text}`zeros_own_accuracy:.2f` %, which is
# {glue:text}`zeros_own_lead` with as many weights. (Its rounds fall on other densities; its accuracy is interpolated between the
# two nearest, linearly in the logarithm of the density, seed by seed.) Over all rounds the mean
# is {glue:text}`zeros_own_mean_lead`.
#
# Directions alone, then, prune without being told how much. To get to smaller tickets than that in as many rounds takes a criterion
# that goes on ranking weights when nearly all of them are growing.
#
# ## Masking is training
#
# Now for the explanation. If zero helps because pruned weights were going there, then a criterion should be the better the more
# of what it prunes was on its way to zero. The records of the nine {doc}`criteria <criteria>` say for every round which share of
# the weights just pruned training had moved towards zero, and which share of all that could have been pruned.
# The second is the base rate: pruning at random would give it.

# %% tags=["remove-input"]
criteria_table = criteria_record.table
WORKING = [f"{name}/rewind/zero" for name in claims.WORKING]
shares = figures.shrunk_shares(criteria_record)
at_criteria = figures.nearest_round(criteria_table, at_density)
accuracy = figures.curves(criteria_table[criteria_table["round"] == at_criteria])
criteria_density = 100 * accuracy["density"].iloc[0]
gaps = shares["gap"].map(lambda gap: gap.mean)
order = accuracy.set_index("arm")["mean"].sort_values(ascending=False)
above = [arm for arm in shares.index if shares.loc[arm, "gap"].low > 0]
mostly = [arm for arm in WORKING if shares.loc[arm, "pruned"].mean > 50]
best, second, worst = order.index[0], order.index[1], order.index[-1]
ahead_of_second = figures.lead(criteria_table[criteria_table["round"] == at_criteria], second)
ahead_of_second = claims.interval(ahead_of_second.loc[ahead_of_second["arm"] == best, "lead"])


def of_shrinking(arm):
    """Per seed, in percent: the share of what a criterion prunes that could have been shrinking,
    had it taken all of those first, and the share of all that were shrinking which it prunes."""
    low, high = claims.THRESHOLDS.any_pruning
    own = criteria_table[criteria_table["arm"] == arm].sort_values(["seed", "round"])
    before = own.groupby("seed")["density"].shift()
    own = own.assign(pruned=before - own["density"], shrinking=before * own["shrunk_share"])
    own = own[(own["round"] > 0) & own["density"].between(low, high)]
    own["possible"] = own[["pruned", "shrinking"]].min(axis=1)
    own["taken"] = own["pruned"] * own["pruned_shrunk_share"]
    sums = own.groupby("seed")[["pruned", "shrinking", "possible", "taken"]].sum()
    return 100 * sums["possible"] / sums["pruned"], 100 * sums["taken"] / sums["shrinking"]


possible, taken = (
    {arm: values.mean() for arm, values in zip(WORKING, both, strict=True)}
    for both in zip(*map(of_shrinking, WORKING), strict=True)
)


def named(arms):
    """Criteria in a sentence."""
    return ", ".join(arm.split("/")[0] for arm in arms)


def counted(arms, among):
    """How many of how many, and which."""
    return f"{len(arms)} of {among} ({named(arms)})" if arms else f"none of {among}"


page.show(
    figures.shrunk_chart(shares, accuracy, f"with {criteria_density:.1f} % left"),
    name="fig-zeros-shrunk",
    alt="Dots for nine criteria, ordered by accuracy. Left: the share of pruned weights that were "
    "moving towards zero beside that of all candidates. The shares lie apart by "
    + ", ".join(
        f"{page.signed(gaps[arm], 0)} points for {arm.split('/')[0]}" for arm in order.index
    )
    + ". Right: their test accuracy.",
    caption="*Left*: of the weights that each criterion prunes, those that training had just moved "
    "towards zero (filled), and the same share among all that it could have pruned (open). All "
    "rounds with 1 to 85 % of weights left, each counting by what it prunes. *Right*: test "
    f"accuracy with {criteria_density:.1f} % of weights left, which orders the criteria. Bars are "
    "95 % intervals over seeds.",
    source=criteria_record.provenance(),
)
page.glue(
    zeros_best="It is also the most accurate of the nine there"
    + ("." if ahead_of_second.low > 0 else f", not to be told apart from {second.split('/')[0]}.")
    if best == ZERO
    else f"The most accurate of the nine there is {best.split('/')[0]}: "
    f"{shares.loc[best, 'pruned'].mean:.0f} % against {shares.loc[best, 'candidates'].mean:.0f} %.",
    zeros_worst=worst.split("/")[0],
    zeros_worst_pruned=shares.loc[worst, "pruned"].mean,
    zeros_worst_candidates=shares.loc[worst, "candidates"].mean,
    zeros_lf_pruned=shares.loc[ZERO, "pruned"].mean,
    zeros_lf_candidates=shares.loc[ZERO, "candidates"].mean,
    zeros_above_working=len(set(above) & set(WORKING)),
    zeros_above_others=counted(
        sorted(set(above) - set(WORKING)), f"the other {len(shares) - len(WORKING)}"
    ),
    zeros_mostly=counted(mostly, "the four"),
    zeros_possible="; ".join(
        f"{arm.split('/')[0]} {shares.loc[arm, 'pruned'].mean:.0f} % where {possible[arm]:.0f} % was possible, which is {taken[arm]:.0f} % of all that shrank"
        for arm in WORKING
    ),
    zeros_correlation=claims.bracketed(*claims.rank_correlation(gaps[order.index], order)),
    zeros_criteria_density=criteria_density,
)

# %% [markdown]
# `large_final` prunes weights of which {glue:text}`zeros_lf_pruned:.0f` % were moving towards zero, where
# {glue:text}`zeros_lf_candidates:.0f` % of the candidates were. Accuracy is compared with {glue:text}`zeros_criteria_density:.1f` % left. {glue:text}`zeros_best` The least accurate
# is {glue:text}`zeros_worst`: {glue:text}`zeros_worst_pruned:.0f` % against {glue:text}`zeros_worst_candidates:.0f` %.
#
# Pruning more shrinking weights than the base rate, the whole interval above it, holds for {glue:text}`zeros_above_working`
# of the 4 criteria that the paper found to work, and for {glue:text}`zeros_above_others`. Across all nine, the rank correlation between the distance from the base rate and
# accuracy is {glue:text}`zeros_correlation`: nine points, and an interval accordingly wide. The stronger wording, that the criteria which work zero *mostly* such weights, is
# another matter: over the rounds with 1 to 85 % of the weights left, more than half of the pruned weights were shrinking for {glue:text}`zeros_mostly`.
# That bar, registered before the records, was a high one: few weights shrink, and a round has to prune its share whether as many shrank or not. Beside what each could have pruned of them, had it
# taken all that shrank first: {glue:text}`zeros_possible`. {numref}`fig-zeros-by-round` shows how that depends on the round.

# %% tags=["remove-input"]
by_round = figures.curves(criteria_table, None, "pruned_shrunk_share").set_index(["arm", "round"])
candidates = figures.curves(criteria_table, None, "shrunk_share").set_index(["arm", "round"])
end = criteria_table["round"].max()
INCREASE = "magnitude_increase/rewind/zero"
page.show(
    figures.shrunk_by_round(criteria_table, list(claims.WORKING)),
    name="fig-zeros-by-round",
    alt="Four panels, one for each criterion that works: the share of weights moving towards zero, "
    "among those pruned and among all candidates, against the share of weights left. Among those "
    "pruned by large_final it goes from "
    f"{100 * by_round.loc[(ZERO, 1), 'mean']:.0f} % in the first round to "
    f"{100 * by_round.loc[(ZERO, end), 'mean']:.0f} % in the last.",
    caption="The shares of {numref}`fig-zeros-shrunk` round by round: among the weights pruned "
    "(solid) and among all that could have been (dashed). Mean and 95 % interval over seeds; the "
    "grey line is one half.",
    source=criteria_record.provenance(),
)


def shrinking_rounds(arm):
    """The rounds in which more than half of what a criterion prunes was shrinking, in words."""
    known = by_round.loc[arm].dropna()
    rounds = known.index[known["mean"] > 0.5].to_series()
    runs = [part for _, part in rounds.groupby((rounds.diff() != 1).cumsum())]
    spans = [
        f"{part.iloc[0]}" if len(part) == 1 else f"{part.iloc[0]} to {part.iloc[-1]}"
        for part in runs
    ]
    return f"round{'s' * (len(rounds) > 1)} {page.listed(spans)}" if spans else "no round"


def direction(one, window):
    """By how many points a record's variant_1 is ahead of freeze_init: mean and 95 % interval."""
    looked_at = claims.Evidence({("zeros", one.plan["network"]): one}, one.plan["network"])
    return claims.interval(
        claims.ticket("zeros", VARIANT_1, window)(looked_at)
        - claims.ticket("zeros", FROZEN, window)(looked_at)
    )


at_the_end = records.Record(
    table.assign(test_accuracy=table["final_test_accuracy"]), record.manifest
)
by_window, by_final = (
    {window: direction(one, window) for window in ("any_pruning", "high_pruning")}
    for one in (record, at_the_end)
)
on_convolutions = [
    f"on {TITLES[one.plan['network']]} {claims.bracketed(*direction(one, 'high_pruning'))}"
    for one in convolutional
]
helps = {window: gain.low > 0 for window, gain in by_window.items()}
spans = {
    window: "{:g} to {:g} %".format(*(100 * end for end in getattr(claims.THRESHOLDS, window)))
    for window in by_window
}
page.glue(
    zeros_direction=" and ".join(
        f"{claims.bracketed(*gain)} points ahead in the mean over densities from {spans[window]}"
        for window, gain in by_window.items()
    )
    + f" (at early stopping, {record.plan['seeds']} seeds; by the accuracy after the last iteration "
    + " and ".join(claims.bracketed(*gain) for gain in by_final.values())
    + "; the comparison was not registered)",
    zeros_direction_convolutions=f"On the smaller convolutional networks, where much is pruned, it is ahead by more: {page.listed(on_convolutions)} points."
    if on_convolutions
    else "",
    zeros_direction_words="To zero what was going to zero helps, then, whatever is left."
    if all(helps.values())
    else f"To zero what was going to zero helps, then, where much is pruned{'' if by_final['high_pruning'].low > 0 else ' and training stops early'}; over all densities it is not settled."
    if helps["high_pruning"]
    else "Over all densities to zero what was going to zero helps, where much is pruned it is not settled."
    if helps["any_pruning"]
    else "That to zero what was going to zero helps, these records do not show.",
    zeros_mostly_rounds="; ".join(
        f"{arm.split('/')[0]} in {shrinking_rounds(arm)}" for arm in WORKING
    ),
    zeros_lf_first=100 * by_round.loc[(ZERO, 1), "mean"],
    zeros_lf_last=100 * by_round.loc[(ZERO, end), "mean"],
    zeros_candidates_first=100 * candidates.loc[(ZERO, 1), "mean"],
    zeros_candidates_last=100 * candidates.loc[(ZERO, end), "mean"],
    zeros_increase_first=100 * by_round.loc[(INCREASE, 1), "mean"],
    zeros_increase_last=100 * by_round.loc[(INCREASE, end), "mean"],
    zeros_increase_candidates_last=100 * candidates.loc[(INCREASE, end), "mean"],
)

# %% [markdown]
# After the first, dense training, {glue:text}`zeros_candidates_first:.0f` % of all weights are smaller than they began, and
# {glue:text}`zeros_lf_first:.0f` % of what `large_final` then prunes. In the last round {glue:text}`zeros_candidates_last:.0f` % of the
# survivors shrink, and {glue:text}`zeros_lf_last:.0f` % of those pruned. `magnitude_increase` by definition prunes what
# shrank before anything else, and runs out of it: {glue:text}`zeros_increase_first:.0f` % of what it prunes in the first
# round, {glue:text}`zeros_increase_last:.0f` % in the last, when {glue:text}`zeros_increase_candidates_last:.1f` % of its candidates
# shrink and it has to go on with those that grew least. A ticket's weights, rewound and trained again, grow: there is little left in it that
# training would move to zero. More than half of what is pruned was shrinking, of the criteria that work, for
# {glue:text}`zeros_mostly_rounds`.
#
# Some of this is arithmetic. Even if training did nothing but shake the weights at random, one that ends small would
# more often have come from a larger value than from a smaller one, so any criterion that looks at $|w_f|$ leans this way
# without knowing where training was going. And weights on pixels that are dark in every image never
# move: they count as candidates, and as not shrinking.
#
# So the explanation has to be tried by experiments that change nothing but the value of a pruned weight (from the second round on, each arm's masks follow from its own trainings). The one that singles out direction sets
# `variant_1`, which zeroes only what was shrinking, beside `freeze_init`, which zeroes nothing: the first is {glue:text}`zeros_direction`. {glue:text}`zeros_direction_words`
# {glue:text}`zeros_direction_convolutions`
#
# ## What the paper found, and what these records say

# %% tags=["remove-input"]
paper = experiments.plan("zeros", preset="paper")
lengths = {}
for what, one in (("the five actions", record), ("the nine criteria", criteria_record)):
    if one.plan["epochs"] < paper.epochs:
        lengths.setdefault((one.plan["epochs"], one.plan["evaluate_every"]), []).append(what)
shorter = [
    f"the records of {' and of '.join(those)} train for {epochs} and look every {every}"
    for (epochs, every), those in lengths.items()
]
page.glue(
    zeros_2_first=claims.judge("zeros-2", evidence, "fc", claims.FIRST_THRESHOLDS).verdict,
    zeros_scale=f"The paper trains for {paper.epochs} epochs each time and looks at the validation images every {paper.evaluate_every} "
    f"iterations; {', '.join(shorter)}. How far a weight has got on its way to zero depends on how long it was given: of all that is said by such "
    "records, the shares of shrinking weights and the density that move_to_zero reaches are the most likely to change with longer training."
    if shorter
    else "Trainings are as long as the paper's." + page.fewer_seeds(record),
)
page.verdicts(
    results,
    caption="What the paper's four claims come down to, in percentage points (shares: percent). For "
    "its claim, an effect must lie above the threshold with the whole of its 95 % interval.",
)

# %% [markdown]
# Every line is a comparison, averaged over a range of densities and paired by seed; the thresholds were fixed before
# there were results on MNIST. A claim is *reproduced* if all of its comparisons are, *not reproduced* if any is *not reproduced*, and *undecided* otherwise.
# The second table reads the records in other ways, one choice changed at a time: "the same in 3 of 3 other readings" says that no such change turns the verdict.
#
# - *Zeroing pruned weights beats freezing them at their initial values* (zeros-1): **{glue:text}`verdict_zeros_1`** by
#   these records, {glue:text}`holds_zeros_1`.
# - *variant_1 matches zeroing at low pruning and beats it at high pruning* (zeros-2): **{glue:text}`verdict_zeros_2`** ({glue:text}`holds_zeros_2`). It hangs
#   on “{glue:text}`weakest_zeros_2`”. What low pruning is was changed once, before any of these records; by the first definition it would be **{glue:text}`zeros_2_first`** ({doc}`scorecard`).
# - *variant_2 does at least as well as variant_1* (zeros-3): **{glue:text}`verdict_zeros_3`** ({glue:text}`holds_zeros_3`).
# - *Masking is training: the criteria that work zero mostly weights that were moving towards zero anyway*
#   (zeros-4): **{glue:text}`verdict_zeros_4`**, read strictly ({glue:text}`holds_zeros_4`). What decides it is “{glue:text}`weakest_zeros_4`”.
#
# {glue:text}`zeros_scale`

# %% tags=["remove-input"]
page.by_length("zeros", ["zeros-1", "zeros-2", "zeros-3"])
page.by_length("criteria", ["zeros-4"], caption="The same of zeros-4, by the records of criteria.")

# %% [markdown]
# ## Other networks, other data
#
# The same five arms elsewhere: the fully connected network on digits, and the paper's convolutional networks on
# CIFAR-10, with fewer channels and images where the title says so. What is reduced shows what the experiment gives at that scale, no more.

# %% tags=["remove-input"]
if others:
    page.show(
        figures.accuracy_panels(
            {other.scale(): other.table for other in others},
            ARMS,
        ),
        name="fig-zeros-elsewhere",
        alt="Test accuracy against the share of weights left, five mask-0 actions, a panel for each "
        "smaller record: " + "; ".join(other.scale() for other in others) + ".",
        caption="The five arms elsewhere, colours as in the figures above; every panel has scales of "
        "its own. Mean and 95 % interval over seeds.",
        source=" ".join(other.provenance() for other in others),
    )

    verdicts = {}
    for other in others:
        network = other.plan["network"]
        there = {("zeros", network): other}
        if (name := records.largest("criteria", network, other.plan["preset"])) is not None:
            there["criteria", network] = records.read(name)
        verdicts[page.titled(other)] = {
            result.claim: claims.and_corrected(claims.judge(result.claim, there, network))
            for result in results
        }
    page.table(
        pd.DataFrame(verdicts).T,
        caption="The verdicts by these records, and in brackets what becomes of one where all of its claim's intervals are to hold at once, if it is another. "
        "Undecided: too few rounds or seeds, no record of the criteria, or an interval that spans the threshold.",
    )
else:
    print("There is no such record yet. One is made by")
    print("dltlib run zeros --network conv2 --preset cpu")


# %% tags=["remove-input"]
def ending(other):
    """Where the arms of a record end: accuracy in its last round, and the weights left."""
    own = other.table[other.table["round"] == other.table["round"].max()]
    known = own.groupby("arm")[["test_accuracy", "density"]].mean()
    return {
        arm.split("/")[
            2
        ]: f"{100 * known.loc[arm, 'test_accuracy']:.1f} %, {figures.percent(known.loc[arm, 'density'])} left"
        for arm in ARMS
        if arm in known.index
    }


def turned(other):
    """How freezing and the variants fare against zeroing, from dense to sparse: a row of a table."""
    known = figures.curves(figures.lead(other.table, ZERO), ARMS, "lead")
    known = known[known["round"] > 0].set_index(["arm", "round"])
    frozen = known.loc[FROZEN]
    last_round, behind = frozen.index.max(), frozen.index[frozen["mean"] < 0]
    ahead_from = "nowhere"
    if not len(behind):
        ahead_from = "everywhere"
    elif behind.max() < last_round:
        ahead_from = f"{figures.percent(frozen.loc[behind.max() + 1, 'density'])} left on"
    return {
        "freeze_init behind by up to": f"{max(0, -100 * frozen['mean'].min()):.1f}",
        "ahead from": ahead_from,
    } | {
        f"{arm.split('/')[2]} in the last round": claims.bracketed(
            *(100 * known.loc[(arm, last_round), ["mean", "low", "high"]]), 1
        )
        for arm in (FROZEN, VARIANT_1, VARIANT_2)
    }


turns = {TITLES[other.plan["network"]]: turned(other) for other in convolutional}
if convolutional:
    page.table(
        pd.DataFrame(
            {
                f"{TITLES[other.plan['network']]}, {page.scale(other)}": ending(other)
                for other in convolutional
            }
        ).T,
        caption="Where the arms end on convolutional networks: test accuracy in the last round (chance is 10 %) and weights left, means of the seeds.",
    )
    page.table(
        pd.DataFrame(turns).T,
        caption="The same arms against the one that zeroes, in percentage points of test accuracy: how far freezing falls behind in the mean of the seeds, from which size on it is ahead, "
        "and the paired lead at the end (mean and 95 % interval).",
    )
collapsed, larger, moving, ahead, steps = [], [], [], [], []
for other in convolutional:
    title = TITLES[other.plan["network"]]
    known = other.table.groupby(["round", "arm"])[["test_accuracy", "density"]].mean() * 100
    last_round = other.table["round"].max()
    reached = known.loc[last_round]
    low = reached["test_accuracy"] - reached.loc[ZERO, "test_accuracy"]
    ahead += low.drop(ZERO).tolist()
    fallen = [arm.split("/")[2] for arm, gap in low.items() if gap < -5]
    if fallen:
        collapsed.append(f"on {title} {page.listed(fallen)}")
    if low.get(TO_ZERO, 0) < -5 and reached.loc[TO_ZERO, "density"] > reached.loc[ZERO, "density"]:
        larger.append(title)
    if TO_ZERO in reached.index and last_round > 0:
        step = known.loc[(last_round - 1, TO_ZERO), "density"] - reached.loc[TO_ZERO, "density"]
        steps.append(step)
        moving.append(f"on {title} {step:.2f} points in the last of {last_round} rounds")
crossing = [name for name, row in turns.items() if row["ahead from"].endswith("left on")]
page.glue(
    zeros_conv_collapsed=(
        f"In the same last round these end more than five points below the arm that zeroes: {'; '.join(collapsed)}."
        if collapsed
        else f"Every other arm ends above the one that zeroes, by {min(ahead):.1f} to {max(ahead):.1f} points."
        if convolutional and min(ahead) > 0
        else "No arm ends more than five points below the one that zeroes."
        if convolutional
        else "There is no such record yet."
    )
    + (
        f" On {page.listed(larger)} move_to_zero does so although it has more weights left."
        if larger
        else ""
    ),
    zeros_conv_moving=f"move_to_zero {'has almost come to rest' if max(steps) < 0.1 else 'still gives up weights'}: it gave up {'; '.join(moving)}."
    if moving
    else "",
    zeros_conv_turns=f"On {page.listed(crossing)} what zeros-1 averages has two ends: zeroing is ahead of freezing where more is left, and behind where little is. "
    "The mean over densities by which it is judged lays the two over each other."
    if crossing
    else "",
)

# %% [markdown]
# These records differ from those on FC in the network and its width, the data, the number of images, the length and the rate of training, and in how much a round prunes,
# all at once, so that no difference between them names its reason.
#
# {glue:text}`zeros_conv_turns`
#
# {glue:text}`zeros_conv_collapsed` {glue:text}`zeros_conv_moving`
#
# Zeros-4 is one verdict on four criteria, and on convolutions the four differ:

# %% tags=["remove-input"]
moved = {}
for other in convolutional:
    network = other.plan["network"]
    if (name := records.largest("criteria", network, other.plan["preset"])) is None:
        continue
    nine = records.read(name)
    own = claims.Evidence({("criteria", network): nine}, network)
    moved[f"{TITLES[network]}, {page.scale(nine)}"] = {
        criterion: claims.bracketed(
            *claims.interval(
                claims.share_among_pruned(f"{criterion}/rewind/zero", "pruned_shrunk_share")(own)
            ),
            1,
        )
        for criterion in claims.WORKING
    }
if moved:
    page.table(
        pd.DataFrame(moved).T,
        caption="Of what each criterion prunes, the share that was moving to zero, in percent: mean and 95 % interval, over densities from "
        f"{looked_from:g} to {looked_to:g} %. Zeros-4 asks that each lies above 50.",
    )

# %% [markdown]
# ## Try it
#
# All five mask-0 actions on digits, in some seconds. Change the seeds, the rounds, the share kept each round, or the
# arms: any criterion, mask-1 action and mask-0 action can be joined by slashes, as in `movement/reinit/variant_1`.

# %% tags=["nbval-ignore-output"]
# Other kinds of processors round differently: a last digit may differ.
from dltlib import catalogue, experiments, figures, page, runs

arms = [f"large_final/rewind/{action}" for action in catalogue.PAPER_MASK0_ACTIONS]
plan = experiments.plan(
    "zeros",
    network="fc",
    preset="tiny",
    arms=tuple(arms),
    seeds=2,
    rounds=5,
    epochs=5,
    keep_dense=0.7,
)
live = runs.table(plan)
accuracy = live.pivot_table("test_accuracy", index="arm", columns="round")
shown = accuracy.loc[[*plan.arms]].rename(index=figures.labels(plan.arms))
page.table(
    100 * shown.rename_axis(None),
    caption="Test accuracy in percent on digits, mean of the seeds.",
    decimals=1,
)

# %% [markdown]
# And what do the nine criteria prune? One round is enough to see.

# %% tags=["nbval-ignore-output"]
from dltlib import claims, experiments, figures, page, runs

plan = experiments.plan("criteria", preset="tiny", seeds=2, rounds=1, epochs=5)
trial = runs.table(plan)
one = trial[trial["round"] == 1].groupby("arm").mean(numeric_only=True)
moving = 100 * one.loc[[*plan.arms], ["pruned_shrunk_share", "shrunk_share"]]
moving.columns = ["of those pruned", "of all"]
page.table(
    moving.rename(index=figures.labels(plan.arms)).rename_axis(None),
    caption="Weights moving towards zero in round 1, percent, digits.",
    decimals=0,
)

# %% tags=["hide-input", "nbval-ignore-output"]
gap = (moving["of those pruned"] - moving["of all"]).rename(lambda arm: arm.split("/")[0])
print("More than chance would:", ", ".join(gap.index[gap > 1]))
print("Fewer than chance would:", ", ".join(gap.index[gap < -1]))
print(
    "Of the four criteria that work, fewer:",
    ", ".join(name for name in claims.WORKING if gap.get(name, 0) < -1) or "none",
)

# %% tags=["remove-input", "nbval-ignore-output"]
early = 100 * (by_round["mean"] - candidates["mean"]).xs(1, level="round")
fewer_here = [name for name in claims.WORKING if gap.get(name, 0) < -1]
fewer_there = [name for name in claims.WORKING if early[f"{name}/rewind/zero"] < -1]
page.glue(
    zeros_fewer_here=", ".join(fewer_here) or "none",
    zeros_fewer_there=", ".join(fewer_there) or "none",
    zeros_fewer_all=", ".join(
        name for name in claims.WORKING if shares.loc[f"{name}/rewind/zero", "gap"].high < 0
    )
    or "none",
    zeros_live_seeds=plan.seeds,
    zeros_settles="One round on digits does not settle, then, what a criterion prunes."
    if fewer_here != fewer_there
    else "In this the two agree.",
)

# %% [markdown]
# Of the four criteria that work, fewer shrinking weights than chance would have pruned, here, in one round and by {glue:text}`zeros_live_seeds:d` seeds: {glue:text}`zeros_fewer_here`. In the
# record above, in its first round: {glue:text}`zeros_fewer_there`; over its rounds with 1 to 85 % of the weights left: {glue:text}`zeros_fewer_all`. {glue:text}`zeros_settles`
# Mind that `movement` prunes first what did not move at all, the weights of pixels that are dark in every image, which count as not shrinking: its share says less about directions than the others' do.
#
# ### Exercise
#
# Set pruned weights neither to zero nor to $w_i$, but to what training made of them, $w_f$, and freeze them there. Is that better than zero?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
# `digits` and `settings` are those of the cell about five fates.
seeds, net = [0, 1, 2], networks.build("fc", digits.input_shape)
before = networks.initial_weights(net, seeds)
everything = [torch.ones_like(w, dtype=torch.bool) for w in before]
dense = training.train(net, digits, before, everything, seeds, settings)
masks = [
    pruning.prune(w.abs(), all_, pruning.kept_count(w[0].numel(), 0.05))
    for w, all_ in zip(dense.weights, everything)
]
reached = {}
for title, pruned in (("zero", [torch.zeros_like(w) for w in before]), ("w_f", dense.weights)):
    begun = [torch.where(mask, w, value) for mask, w, value in zip(masks, before, pruned)]
    reached[title] = training.train(net, digits, begun, masks, seeds, settings).early_test
better = int((reached["w_f"] > reached["zero"]).sum())
print(
    f"Freezing at w_f does better than zero with {better} of {len(seeds)} seeds. (It keeps what the dense network had learned.)"
)

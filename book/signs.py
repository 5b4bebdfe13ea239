# ---
# jupyter:
#   dltlib:
#     records:
#     - signs-*
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
# (signs)=
# # What the kept weights start from
#

# %% tags=["parameters"]
preset = None  # whose records are shown: paper, cpu or tiny; None: the largest there is
at_density = 0.05  # the share of weights left at which the text compares arms

# %% tags=["remove-cell"]
import itertools
import math

import pandas as pd

from dltlib import catalogue, claims, experiments, figures, page, records

REWIND = "large_final/rewind/zero"
NEW_VALUES = ("reinit", "reshuffle", "constant")
RANDOM = [f"large_final/{name}/zero" for name in NEW_VALUES]
KEPT = [f"large_final/signed_{name}/zero" for name in NEW_VALUES]
CLAIMS = ("signs-1", "signs-2", "signs-3")

record = records.read(records.largest("signs", "fc", preset))
table = record.table
results = [claims.judge(name, {("signs", "fc"): record}, "fc") for name in CLAIMS]
others = records.others("signs", record)
print(f"record {record.name}; arms compared near {100 * at_density:g} % of weights left")

# %% tags=["remove-input"]
means = 100 * figures.curves(table).set_index(["arm", "round"])["mean"]
at = figures.nearest_round(table, at_density, REWIND)
density = 100 * table.loc[table["round"] == at, "density"].mean()
ends = {name: kind[2] for name, kind in (("kept", KEPT), ("random", RANDOM))}
page.answer(
    question="What does a ticket need of its initial values: the sign, the size, or both?",
    answer=f"Mostly the sign: a ticket that keeps only the signs of its values does better than one that draws new values with random signs. With {density:.1f} % of the weights left, constants with the signs of "
    f"`w_i` reach {means[ends['kept'], at]:.1f} %, constants with random signs "
    f"{means[ends['random'], at]:.1f} %, and the initial values themselves {means[REWIND, at]:.1f} %."
    if results[2].verdict == claims.REPRODUCED
    else f"By these records it is undecided. With {density:.1f} % of the weights left, constants with the "
    f"signs of `w_i` reach {means[ends['kept'], at]:.1f} %, those with random signs "
    f"{means[ends['random'], at]:.1f} %, the initial values {means[REWIND, at]:.1f} %.",
    number=f"In the mean over densities from {100 * claims.THRESHOLDS.any_pruning[0]:g} to "
    f"{100 * claims.THRESHOLDS.any_pruning[1]:g} % constants with the right signs are ahead of new draws with random ones by "
    f"{claims.in_brackets(results[2].weakest)} points of accuracy (mean and 95 % interval; below 0: behind).",
    results=results,
)

# %% tags=["remove-input", "margin"]
page.basis(record)

# %% [markdown]
# A lottery ticket is two things at once: a choice of weights, and the values that they start from.
# The recipe rewinds the chosen weights to $w_i$, the very values they were drawn as, and
# Frankle and Carbin {cite:p}`frankle2019lottery` saw that this matters: the same ticket started from new
# random values learns worse. But a value is a sign and a size. Which of the two does a ticket
# need?
#
# Section 3 of the paper {cite:p}`zhou2019deconstructing` takes the two apart. It keeps the criterion
# (large final weights, the first of the nine {doc}`criteria <criteria>`) and the mask-0 action (pruned weights are zero), and changes only the
# {term}`mask-1 action`, what the kept weights start from:
#
# | action | a kept weight starts from | size | sign |
# |---|---|---|---|
# | `rewind` | its own initial value $w_i$ | its own | its own |
# | `reinit` | a new draw from the distribution that $w_i$ came from | new | random |
# | `reshuffle` | the initial value of another kept weight of its layer | another's | random |
# | `constant` | $+\alpha$ or $-\alpha$, the kept signs of its layer permuted | the same for all | random |
# | `signed_reinit` | a new draw, with the sign of $w_i$ | new | its own |
# | `signed_reshuffle` | the value of another kept weight of its own sign | another's | its own |
# | `signed_constant` | $\alpha \operatorname{sign} w_i$ | the same for all | its own |
#
# $\alpha$ is the standard deviation that the layer was initialised with. The last three rows repeat the
# three above them with one thing held fast: every weight keeps the sign it was born with. If its size is what
# a ticket needs, they should do as badly as those above. The paper found that they come close to rewinding instead.
#
#
# ## Seven starts for one ticket
#
# Here is a real ticket to look at. The next cell trains a small network on the digits that come with scikit-learn,
# keeps the half of the first layer's weights that ended largest, and asks each action what they
# should start from.

# %%
import dataclasses

import torch

from dltlib import actions, criteria, datasets, networks, pruning, training
from dltlib.history import History

digits = datasets.load("digits")
network = networks.build("fc", digits.input_shape)
initial = networks.initial_weights(network, seeds=[0])
full = [torch.ones_like(weight, dtype=torch.bool) for weight in initial]
settings = training.Settings(epochs=8, learning_rate=1.2e-3)
trained = training.train(network, digits, initial, full, [0], settings)

layer = network.layers[0]
history = History(layer, [0], 1, initial[0], trained.weights[0], full[0])  # seed 0, round 1
mask = pruning.next_mask(criteria.CRITERIA["large_final"], history, 0.5)
history, w_i = dataclasses.replace(history, mask=mask), history.initial
starts = {
    name: actions.MASK1_ACTIONS[name].values(history)[mask].numpy()
    for name in catalogue.PAPER_MASK1_ACTIONS
}

# %% tags=["remove-input"]
page.show(
    figures.start_scatter(w_i[mask].numpy(), starts),
    name="fig-signs-starts",
    alt="Seven scatter plots of a start value against the initial weight. Rewinding is the diagonal. "
    "New draws, shuffled values and constants with random signs fill all four quadrants; the "
    "same with kept signs fill only the lower left and the upper right one.",
    caption="What each action starts kept weights from, against what they were drawn as: the "
    "first layer of a network trained on digits, half of its weights kept. Open dots changed sign. "
    "*Warm colours*: random signs, all four quadrants. *Greens*: kept signs, only two of them. Constants lie "
    r"on two lines, at $\pm\alpha$.",
    source=f"Made by the cell above: {layer.shape[0]} inputs, {layer.shape[1]} units, seed 0.",
)
near = w_i.abs() < layer.initial_deviation / 4
page.glue(
    signs_near_all=round(100 * near.float().mean().item()),
    signs_near_kept=round(100 * near[mask].float().mean().item()),
)

# %% [markdown]
# In {numref}`fig-signs-starts`, nothing is left of a weight's own size in any of the six. All that
# tells the panels in green from the others is that two quadrants are empty.
# Few dots lie near the vertical line: {glue:text}`signs_near_all` % of all weights of this layer were drawn
# within a quarter of $\alpha$ of zero, where a sign means little, but only {glue:text}`signs_near_kept` % of those that
# were kept.
#
# ## Accuracy against weights left
#
# Each arm goes through the whole of the algorithm, round by round: train, keep the largest, apply its action, train
# again. The draws and permutations are new in every round. Seeds share their initial weights and the
# order of their training images across arms, so that arms can be compared in pairs.

# %% tags=["remove-input"]
kept_means, random_means = ([means[arm, at] for arm in arms] for arms in (KEPT, RANDOM))
page.show(
    figures.accuracy_curves(
        table, [*RANDOM, *KEPT, REWIND], zoom=figures.top_of_scale(table, [*KEPT, REWIND])
    ),
    name="fig-signs-accuracy",
    alt="Test accuracy against the share of weights left on a falling log axis, seven arms and the "
    f"dense network. With {density:.1f} % of weights left, rewinding reaches {means[REWIND, at]:.1f} "
    f"%, three arms with kept signs {min(kept_means):.1f} to {max(kept_means):.1f} %, three with "
    f"random signs {min(random_means):.1f} to {max(random_means):.1f} %.",
    caption="Test accuracy at early stopping against the share of weights left, seven mask-1 "
    "actions. *Warm colours*: random signs; *greens*: kept signs; *blue*: rewinding. Mean and 95 % "
    "interval over seeds.",
    source=record.provenance(),
)

# %% tags=["remove-input"]
page.glue(
    signs_density=density,
    signs_dense=means[REWIND, 0],
    signs_rewind=means[REWIND, at],
    signs_worst_kept=min(kept_means),
    signs_best_kept=max(kept_means),
    signs_worst_random=min(random_means),
    signs_best_random=max(random_means),
    signs_apart="every" if min(kept_means) > max(random_means) else "not every",
)
page.table(
    figures.accuracy_table(
        table, (0.4, 0.2, 0.05, 0.02, 0.01), [REWIND, *KEPT, *RANDOM]
    ).rename_axis(index=None, columns="weights left"),
    caption="Test accuracy in percent, mean ± half the width of its 95 % interval.",
)

# %% [markdown]
# The dense network reaches {glue:text}`signs_dense:.2f` %. With {glue:text}`signs_density:.1f` % of the weights left, rewinding
# reaches {glue:text}`signs_rewind:.2f` %, the three arms with kept signs between {glue:text}`signs_worst_kept:.2f` and
# {glue:text}`signs_best_kept:.2f` %, and those with random signs between {glue:text}`signs_worst_random:.2f` and
# {glue:text}`signs_best_random:.2f` %. So at this density {glue:text}`signs_apart` arm with kept signs beats every arm
# with random ones.
#
# ## Seed by seed
#
# Arms share their seeds. {numref}`fig-signs-leads` takes from each arm's accuracy what rewinding
# reached *with the same seed in the same round*, and only then averages: whatever a seed does to both cancels. {doc}`algorithm` says that this may
# narrow intervals. {glue:text}`signs_pairing`


# %% tags=["remove-input"]
def pairing():
    """How far arms share the luck of a seed: the correlation of two arms' accuracies over the seeds
    of a round, and the width of the paired interval beside the unpaired, over rounds and pairs."""
    low, high = claims.THRESHOLDS.any_pruning
    rows = table[(table["round"] > 0) & table["density"].between(low, high)]
    correlations, paired, unpaired = [], 0.0, 0.0
    for _, own in rows.groupby("round"):
        known = own.pivot(index="seed", columns="arm", values="test_accuracy")
        together, spread = known.corr(), known.var()
        for arm, other in itertools.combinations(known.columns, 2):
            correlations.append(together.loc[arm, other])
            paired += (known[arm] - known[other]).var()
            unpaired += spread[arm] + spread[other]
    return pd.Series(correlations).mean(), math.sqrt(paired / unpaired), known.shape


shared, narrowed, (seed_count, arm_count) = pairing()
page.glue(
    signs_pairing=(
        "Here, on FC, nothing is seen of it"
        if shared < 0.2
        else f"Here, on FC, that is {'a part' if shared < 0.6 else 'most'} of what seeds differ by"
    )
    + f": within a round the accuracies of two arms have a correlation of {page.signed(shared)} over the seeds "
    f"(mean over rounds and pairs of {arm_count} arms, {seed_count} seeds), and paired intervals are {narrowed:.2f} times as wide as unpaired ones. "
)


def compared(arm, reference=REWIND, number=at, table=table):
    """Mean and interval of an arm's lead in a round, that which the text speaks of by default."""
    rows = figures.lead(table, reference)
    known = figures.curves(rows[rows["round"] == number], [arm], "lead")
    return known.loc[0, ["mean", "low", "high"]]


def sparse_end(record):
    """The last round that claims look at, the weights left there, and how kept signs fare."""
    own = record.table
    rounds = own[(own["arm"] == REWIND) & (own["density"] >= claims.THRESHOLDS.any_pruning[0])]
    number = rounds["round"].max()
    left = figures.percent(rounds[rounds["round"] == number]["density"].mean())
    names = figures.labels(KEPT)
    against = page.listed(
        f"{names[arm]} lies {page.apart(*compared(arm, number=number, table=own), 'rewinding')}"
        for arm in KEPT
    )
    return f"with {left} left, {against}"


def overall(record):
    """How kept signs fare in the mean over the densities that claims look at, and where worst."""
    network = record.plan["network"]
    known = claims.Evidence({("signs", network): record}, network)
    rounds = known.window("signs", REWIND, "any_pruning")
    told = {}
    for arm in KEPT:
        gaps = (known.grid("signs", arm) - known.grid("signs", REWIND))[rounds]
        worst = gaps.mean().idxmin()
        left = record.table.loc[record.table["round"] == worst, "density"].mean()
        told[figures.labels(KEPT)[arm]] = {
            "mean over densities": claims.bracketed(*claims.interval(gaps.mean(axis=1))),
            "furthest below": claims.bracketed(*claims.interval(gaps[worst])),
            "with left": figures.percent(left),
        }
    return pd.DataFrame(told).T


leads = pd.DataFrame(
    {
        title: [claims.bracketed(*(100 * compared(arm))) for arm in arms]
        for title, arms in (("kept signs", KEPT), ("random signs", RANDOM))
    },
    index=NEW_VALUES,
)
page.show(
    figures.lead_curves(table, REWIND, {"kept signs": KEPT, "random signs": RANDOM}),
    name="fig-signs-leads",
    alt="Differences of test accuracy from rewinding, in percentage points, against the share of "
    "weights left, in two panels with scales of their own. With "
    f"{density:.1f} % of weights left, kept signs: {', '.join(leads['kept signs'])}; random "
    f"signs: {', '.join(leads['random signs'])}.",
    caption="What each action gains or loses against rewinding, in percentage points, paired by "
    "seed: mean and 95 % interval. Mind the two scales.",
    source=record.provenance(),
)
page.table(
    leads,
    caption=f"Difference from rewinding with {density:.1f} % of weights left: points, 95 % interval.",
)
convolutional = [other for other in others if other.plan["network"].startswith("conv")]
page.glue(
    signs_sign_or_value=page.apart(*compared(KEPT[2], RANDOM[0]), "reinit"),
    signs_sparse_end=sparse_end(record),
)
if convolutional:
    span = " to ".join(figures.percent(end) for end in claims.THRESHOLDS.any_pruning)
    page.table(
        pd.concat(
            {figures.NETWORK_NAMES[one.plan["network"]]: overall(one) for one in convolutional}
        ),
        caption="Kept signs on convolutional networks: points from rewinding, mean and 95 % interval, in the mean over the densities "
        f"from {span}, and in the round where the mean lies furthest below (chosen for that). "
        + "; ".join(
            f"{figures.NETWORK_NAMES[one.plan['network']]}: {page.scale(one)}"
            for one in convolutional
        )
        + ".",
    )

# %% [markdown]
# The sharpest form of the question sets a ticket that has the signs and no sizes at all against one that has sizes
# from the right distribution and no signs. At the same density, `signed_constant`
# lies {glue:text}`signs_sign_or_value` (in brackets, here and below, the 95 % interval).
#
# The paper says that arms with kept signs *come close* to rewinding. How close is seen at the sparse end:
# {glue:text}`signs_sparse_end`. How they fare on convolutional networks, over all densities and where they lie furthest below, the table above says.
#
# ## Does training mend a wrong sign?
#
# Why should a sign matter so much, when training is free to change it? The records hold, for every round, the share of the weights
# then kept whose trained value has another sign than $w_i$. Where every training began from the signs of $w_i$, in rewound tickets and in those with
# kept signs, that is the share of signs which the training turned.

# %% tags=["remove-input"]
FLIPPED = "kept_flipped_share"
SIGNED = [*KEPT, REWIND]
later = figures.curves(table[table["round"] >= 2], SIGNED, FLIPPED)
flips = 100 * later["mean"]
page.show(
    figures.share_curves(table, FLIPPED, SIGNED, ylabel="sign turned (%)", first_round=2),
    name="fig-signs-flipped",
    alt="Share of kept weights whose sign training turned, against the share of weights left, for rewinding and the three "
    f"arms with kept signs: between {flips.min():.0f} and {flips.max():.0f} %.",
    caption="Of the weights kept in each round, those whose sign the training just before had turned: arms whose trainings all "
    "begin from the signs of $w_i$. Mean and 95 % interval over seeds. Round 2 is the first whose weights come out of a "
    "training that a mask-1 action started.",
    source=record.provenance(),
)
TURNED = "turned_share"
middle = int(table["round"].max()) // 2


def turned_from(arms):
    """The lowest and the highest share, over arms, of all signs that the middle round turned."""
    own = table[(table["round"] == middle) & table["arm"].isin(arms)]
    shares = 100 * own.groupby("arm")[TURNED].mean()
    return shares.min(), shares.max()


page.glue(
    signs_dense_flips=100 * table.loc[table["round"] == 1, FLIPPED].mean(),
    signs_kept_flips_low=flips.min(),
    signs_kept_flips_high=flips.max(),
    signs_turned_dense=100 * table.loc[table["round"] == 0, TURNED].mean(),
    signs_turned_round=middle,
    signs_turned_kept="{:.0f} to {:.0f}".format(*turned_from(SIGNED)),
    signs_turned_random="{:.0f} to {:.0f}".format(*turned_from(RANDOM)),
)

# %% [markdown]
# Training does turn signs: of the weights kept in round 1, {glue:text}`signs_dense_flips:.0f` % crossed zero during the dense
# training, and of those kept later between
# {glue:text}`signs_kept_flips_low:.0f` and {glue:text}`signs_kept_flips_high:.0f` %. (These are the weights that `large_final` kept afterwards, those that ended largest; of
# all weights the dense training turned {glue:text}`signs_turned_dense:.0f` %.)
#
# A training that begins from random signs turns more of them: in round {glue:text}`signs_turned_round` {glue:text}`signs_turned_random` % of all weights that it trains, from the signs of $w_i$
# {glue:text}`signs_turned_kept` % (each weight against the sign that the same training began from; range over the arms). Are those the *wrong* signs? That is another question, and these records cannot answer it. Random signs are drawn anew in every round and are not recorded, so
# that a disagreement with $w_i$ after the training says nothing of what the training did: half of the signs would disagree even if it had never looked at them. Each sign has to be
# compared with the one that the same training began from. The next cell does that on digits: a ticket of a fifth of the weights keeps the sizes of $w_i$ and draws its signs at
# random, is trained once, and each kept weight is asked where it began and where it ended.

# %%
from dltlib import networks, pruning, training

# `network`, `digits` and `settings` are those of the cell about seven starts.
seeds = [0, 1, 2]
before = networks.initial_weights(network, seeds)
everything = [torch.ones_like(weight, dtype=torch.bool) for weight in before]
dense = training.train(network, digits, before, everything, seeds, settings)
masks = [
    pruning.prune(w_f.abs(), all_, pruning.kept_count(w_f[0].numel(), 0.2))
    for w_f, all_ in zip(dense.weights, everything)
]
draws = torch.Generator().manual_seed(0)
coins = [torch.rand(weight.shape, generator=draws) < 0.5 for weight in before]
begun = [torch.where(coin, -w, w) * mask for coin, w, mask in zip(coins, before, masks)]
ended = training.train(network, digits, begun, masks, seeds, settings).weights


def turned(began_wrong):
    """Of the kept weights that began with the wrong (or right) sign, those that training turned."""
    count = total = 0
    for coin, start, end, mask in zip(coins, begun, ended, masks):
        chosen = mask & (coin == began_wrong)
        count = count + (chosen & (start.sign() != end.sign())).flatten(1).sum(1)
        total = total + chosen.flatten(1).sum(1)
    return 100 * count / total


mended, spoilt = turned(True), turned(False)

# %% tags=["remove-input", "nbval-ignore-output"]
balance = claims.interval((mended - spoilt).tolist())
page.glue(
    signs_mended=mended.mean().item(),
    signs_spoilt=spoilt.mean().item(),
    signs_balance=claims.bracketed(*balance, 1),
    signs_balance_words="so it does mend a wrong sign more often than it spoils a right one"
    if balance.low > 0
    else "so it mends a wrong sign less often than it spoils a right one"
    if balance.high < 0
    else "so that three seeds do not tell the two apart",
)

# %% [markdown]
# On digits, training turned {glue:text}`signs_mended:.1f` % of the signs that began wrong, and {glue:text}`signs_spoilt:.1f` % of those that began right: a difference of
# {glue:text}`signs_balance` points, {glue:text}`signs_balance_words`. Most of the wrong signs are still wrong when it is done.
#
# ## What the paper found, and what these records say

# %% tags=["remove-input"]
paper = experiments.plan("signs", preset="paper")
looked = claims.Evidence({("signs", "fc"): record}, "fc")
page.glue(
    signs_scale=f"One difference to bear in mind: the paper trains for {paper.epochs} epochs each time, these "
    f"records for {record.plan['epochs']}, and looks at the validation images every {paper.evaluate_every} iterations, "
    f"these every {record.plan['evaluate_every']}. {page.learning_sooner(looked, 'signs', REWIND)} The comparisons of "
    "mask-1 actions with one another are between tickets of one size."
    if record.plan["epochs"] < paper.epochs
    else "Trainings are as long as the paper's." + page.fewer_seeds(record),
)
page.verdicts(
    results,
    caption="What the paper's three claims come down to, in percentage points. For its claim, an "
    "effect must lie above the threshold with the whole of its 95 % interval.",
)

# %% [markdown]
# Every line is a comparison, averaged over a range of densities and paired by seed; the thresholds were fixed before
# there were results on MNIST. A claim is *reproduced* if all of its comparisons are, *not reproduced* if any
# is *not reproduced*, and *undecided* otherwise. The second table reads the records in other ways, one choice changed at a time; "the same in 3 of 3 other readings" says that no such change turns the verdict. In words:
#
# - *Tickets with kept signs come close to rewinding, and pass the dense network* (signs-1):
#   **{glue:text}`verdict_signs_1`** by these records ({glue:text}`holds_signs_1`). The weakest comparison is “{glue:text}`weakest_signs_1`”.
# - *Tickets with random signs fall behind rewinding, by more the more is pruned* (signs-2):
#   **{glue:text}`verdict_signs_2`** ({glue:text}`holds_signs_2`). The weakest, each in its own unit, is “{glue:text}`weakest_signs_2`”.
# - *The sign matters more than the value: signed constants beat new draws* (signs-3):
#   **{glue:text}`verdict_signs_3`** ({glue:text}`holds_signs_3`).
#
# {glue:text}`signs_scale`

# %% tags=["remove-input"]
page.by_length("signs", CLAIMS)

# %% [markdown]
# ## Other networks, other data
#
# The same seven arms elsewhere: the fully connected network on digits, and the paper's convolutional networks on
# CIFAR-10, with fewer channels and images where the title says so. What is reduced shows what the experiment gives at that scale, no more.

# %% tags=["remove-input"]
if others:
    page.show(
        figures.accuracy_panels(
            {other.scale(): other.table for other in others}, [*RANDOM, *KEPT, REWIND]
        ),
        name="fig-signs-elsewhere",
        alt="Test accuracy against the share of weights left, seven mask-1 actions, a panel for "
        "each smaller record: " + "; ".join(other.scale() for other in others) + ".",
        caption="The seven arms elsewhere, colours as in the figures above; every panel has scales of "
        "its own. Mean and 95 % interval over seeds.",
        source=" ".join(other.provenance() for other in others),
    )

    judged = {}
    for other in others:
        there = {("signs", other.plan["network"]): other}
        judged[page.titled(other)] = [
            claims.judge(name, there, other.plan["network"]) for name in CLAIMS
        ]
    page.table(
        pd.DataFrame(
            {
                title: {one.claim: claims.and_corrected(one) for one in found}
                for title, found in judged.items()
            }
        ).T,
        caption="The verdicts by these records, and in brackets what becomes of one where all of its claim's intervals are to hold at once, if it is another. "
        "Undecided: too few rounds or seeds, or an interval that spans the threshold.",
    )
    refuted = [
        f"on {figures.NETWORK_NAMES[result.network]} because of "
        + page.listed(
            f"“{part.name}”, {claims.in_brackets(part)} points"
            for part in result.parts
            if part.verdict == claims.NOT_REPRODUCED
        )
        + f" ({sum(part.verdict == claims.REPRODUCED for part in result.parts)} of its {len(result.parts)} comparisons are reproduced)"
        for result, *_ in judged.values()
        if result.verdict == claims.NOT_REPRODUCED
    ]
    MUCH, least = 0.2, claims.THRESHOLDS.far_above_chance
    failed = []
    for other in others:
        if not catalogue.NETWORKS[other.plan["network"]].channels:
            continue
        large = other.table[(other.table["round"] > 0) & (other.table["density"] >= MUCH)]
        for arm, rows in large.groupby("arm"):
            low = rows[rows["test_accuracy"] <= least / 100]
            if len(low):
                failed.append(
                    f"{len(low)} of {len(rows)} of {figures.labels([*RANDOM, *KEPT, REWIND])[arm]} on "
                    f"{figures.NETWORK_NAMES[other.plan['network']]}, the worst at {100 * low['test_accuracy'].min():.1f} %"
                )
    page.glue(
        signs_refuted=f"Signs-1 asks of every way to keep signs that it come close to rewinding and pass the dense network. It is not reproduced {'; '.join(refuted)}. "
        if refuted
        else "",
        signs_failed=f"Some trainings do not learn though {100 * MUCH:.0f} % of the weights or more are left ({least:g} % or less at early stopping, where chance is 10 %): "
        f"{'; '.join(failed)}. What compares such an arm with others scatters accordingly."
        if failed
        else "",
    )
else:
    page.glue(signs_refuted="", signs_failed="")
    print("There is no such record yet. One is made by")
    print("dltlib run signs --network conv2 --preset cpu")

# %% [markdown]
# {glue:text}`signs_refuted` {glue:text}`signs_failed`
#
# Others have the same comparison on full-sized networks {cite:p}`taoudi`: five trials of up to twenty epochs, stopped by looking at the test images. What their
# tickets lose by new draws with random signs, and what ours do at about that size:

# %% tags=["remove-input"]
rows = []
for other in others:
    name = other.plan["network"]
    known = claims.beside(other.table, name, claims.TAOUDI)
    if known.empty:
        continue
    ticket, reinit = (
        known[known["arm"] == arm].set_index("density") for arm in (REWIND, RANDOM[0])
    )
    for share in ticket.index[1:]:
        theirs = reinit.loc[share, "theirs"] - ticket.loc[share, "theirs"]
        ours = reinit.loc[share, "ours"] - ticket.loc[share, "ours"]
        rows.append(
            {
                "": f"{figures.NETWORK_NAMES[name]}, {figures.percent(share / 100)} left",
                "theirs, rewind": f"{ticket.loc[share, 'theirs']:.1f}",
                "theirs, reinit − rewind": page.signed(theirs, 1),
                "ours, left": ""
                if pd.isna(ours)
                else figures.percent(ticket.loc[share, "our density"] / 100),
                "ours, rewind": "" if pd.isna(ours) else f"{ticket.loc[share, 'ours']:.1f}",
                "ours, reinit − rewind": "" if pd.isna(ours) else page.signed(ours, 1),
            }
        )
if rows:
    page.table(
        pd.DataFrame(rows).set_index("").rename_axis(None),
        caption="Test accuracy in percent and differences in points. Their report gives rounds; the shares left are those that the paper's keep rates lead to. Ours, reduced as "
        "in the figure above, stand where a round has about that size.",
    )

# %% [markdown]
# ## Try it
#
# All seven arms on digits, in some seconds. Change the seeds, the rounds, the share kept each round, or the arms: any criterion, mask-1 action
# and mask-0 action can be joined by slashes, as in `movement/signed_constant/freeze_init`.

# %% tags=["nbval-ignore-output"]
# Other kinds of processors round differently: a last digit may differ.
from dltlib import catalogue, experiments, figures, page, runs

arms = [f"large_final/{action}/zero" for action in catalogue.PAPER_MASK1_ACTIONS]
plan = experiments.plan(
    "signs",
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

# %% tags=["hide-input"]
new_values = "reinit", "reshuffle", "constant"
last = accuracy[plan.rounds]
kept, drawn = (
    last[[f"large_final/{sign}{name}/zero" for name in new_values]] for sign in ("signed_", "")
)
parted = kept.min() > drawn.max()
print(
    f"At the end {'every' if parted else 'not every'} arm with kept signs has left every arm with random signs behind."
)

# %% [markdown]
# ### Exercise
#
# If the sign is what a ticket needs, a ticket with *all* its signs turned should do worse than as it was drawn. Or does a network not care, as long as
# all turn together?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
# `network`, `digits` and `settings` are those of the cell about seven starts.
first = networks.initial_weights(network, [0, 1, 2])
alive = [torch.ones_like(w, dtype=torch.bool) for w in first]
once = training.train(network, digits, first, alive, [0, 1, 2], settings)
kept = [
    pruning.prune(w_f.abs(), all_, pruning.kept_count(w_f[0].numel(), 0.05))
    for w_f, all_ in zip(once.weights, alive)
]
reached = {}
for title, factor in (("as drawn", 1.0), ("all turned", -1.0)):
    begun = [factor * w * mask for w, mask in zip(first, kept)]
    reached[title] = training.train(network, digits, begun, kept, [0, 1, 2], settings).early_test
behind = int((reached["all turned"] < reached["as drawn"]).sum())
print(f"With all signs turned, tickets do worse with {behind} of 3 seeds.")

# %% [markdown]
# What the *pruned* weights become is the other half of the recipe: {doc}`zeros`.

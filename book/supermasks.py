# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   dltlib:
#     records: ["supermasks-*", "learned_supermasks-*", "identity_supermasks-*", "learning_rates-*"]
# ---

# %% [markdown]
# (supermasks)=
# # Masks that classify
#
# So far a mask decided which weights a network may train. Here nothing is trained *but* the mask. Take
# a network with its weights as they were drawn: it names the right digit one time in ten, by
# chance. Now set some of its weights to zero and leave the others exactly as they are. Can that alone
# make it classify?
#
# It can, and section 5 of the paper {cite:p}`zhou2019deconstructing` calls a mask that does so a *supermask*. The
# paper's reason to expect one is the claim that the last chapter ({doc}`zeros`) could not bear out as strictly as it is put: that the
# criteria that work set to zero mostly weights that training was moving towards zero anyway. As far as that holds, masking is a part of
# training, and should have an effect by itself.
#
# There are two ways to come by such a mask, and two kinds of weights to lay it over.
#
# | | |
# |---|---|
# | **by criterion** | train the network once, score its weights, keep the best of the *untrained* network |
# | **by learning** | leave the weights alone and learn, for each, a probability of being kept |
# | **over $w_i$** | the weights as they were drawn |
# | **over signed constants** | $\alpha \operatorname{sign} w_i$, with $\alpha$ the standard deviation that the layer was drawn with ("S.C.") |
#
# A fifth word belongs to both ways: *rescaling* multiplies the weights of a layer by its number of weights over the
# number that the mask keeps.

# %% tags=["parameters"]
preset = (
    None  # whose records are shown: paper, cpu or tiny; None: the largest of each that is there
)

# %% tags=["remove-input"]
import math

import pandas as pd

from dltlib import catalogue, claims, figures, networks, page, records, supermasks

record, learned = (
    records.read(records.largest(experiment, "fc", preset))
    for experiment in ("supermasks", "learned_supermasks")
)
table, masks_table = record.table, learned.table
SAME_SIGN = "large_final_same_sign"
SOURCES = [
    "large_final",
    SAME_SIGN,
    "large_final_diff_sign",
    "magnitude_increase",
    "magnitude_increase_same_sign",
    "movement",
    "large_init_large_final",
    "snip",
    "grad",
    "random",
]
VARIANTS = list(figures.LEARNED)  # the four kinds of learned masks, as they are drawn
SHAPE = {"mnist": (1, 28, 28), "digits": (1, 8, 8)}[record.plan["dataset"]]
network = networks.build("fc", SHAPE, record.plan["width"])
trained = figures.dense_baseline(table[table["arm"] == "trained"])
print(f"Shown: the records {record.name} and {learned.name}.")

# %% [markdown]
# ## Masks by criterion
#
# Train the dense network once, to $w_f$; score every weight; keep the best of each layer *in the
# untrained network*; count its right answers. There is no second training. {doc}`criteria` explains the scores. Three more
# come in here, because a mask can do just two things to a weight, leave it at $w_i$ or take it to
# zero, and for a weight that training carried across zero the second is the nearer to where it went.
# `large_final_same_sign` therefore keeps large final weights only where the sign stayed,
#
# $$M = \max(0, |w_f| \operatorname{sign} w_i \operatorname{sign} w_f),$$
#
# `large_final_diff_sign` only where it flipped, and `magnitude_increase_same_sign` treats
# $|w_f| - |w_i|$ in the same way. Two scores that never see $w_f$ stand beside them for comparison: `snip`
# {cite:p}`lee2019snip`, $|g\,w_i|$, and `grad`, $|g|$, with $g$ the gradient before training.

# %% tags=["remove-input"]
page.show(
    figures.mask_curves(
        table,
        {
            "over the initial values": [f"{source}/initial/plain" for source in SOURCES],
            "over signed constants": [f"{source}/constant/plain" for source in SOURCES],
        },
    ),
    name="fig-supermasks-criteria",
    alt="Test accuracy of untrained, masked networks against the share of weights left on a falling "
    "log axis, ten criteria, in two panels: masks over initial values and over signed constants. "
    "With all weights every line starts at chance; criteria that look at final weights rise far "
    "above it as weights are removed and fall again at the sparse end.",
    caption="Nothing is trained here but the scores: test accuracy of masked networks whose "
    "weights are $w_i$ (above) or $\\alpha \\operatorname{sign} w_i$ (below), against the share of weights "
    "left. Mean and 95 % interval over seeds. *Dashed line*: the same network trained.",
    source=record.provenance(),
)

# %% tags=["remove-input"]
best = figures.best_masks(table[table["arm"] != "trained"])
best["source"] = best["arm"].str.split("/").str[0]
plain = best[best["arm"].str.endswith("/plain")]
means = {
    values: plain[plain["arm"].str.contains(f"/{values}/")]
    .groupby("source")["test_accuracy"]
    .mean()
    for values in catalogue.MASK_VALUES
}
NICE = {"initial": "w_i", "constant": "S.C."}
columns = {}
for values in catalogue.MASK_VALUES:
    own = plain[plain["arm"].str.contains(f"/{values}/")].groupby("source")
    spread = own["test_accuracy"].apply(lambda seeds: claims.interval(100 * seeds))
    columns[NICE[values]] = spread.map(
        lambda known: f"{known.mean:.1f} ± {known.high - known.mean:.1f}"
    )
    columns[f"{NICE[values]}: left"] = own["density"].mean().map(figures.percent)
frame = pd.DataFrame(columns).reindex(means["initial"].sort_values(ascending=False).index)
whole = table[(table["round"] == 0) & table["arm"].str.endswith("/plain")]["test_accuracy"]
rank = {values: list(means[values].sort_values(ascending=False).index) for values in means}
better_constants = [
    source
    for source in SOURCES
    if max(means["initial"][source], means["constant"][source]) > 0.2
    and means["constant"][source] > means["initial"][source]
]
working = [source for source in SOURCES if max(means[v][source] for v in means) > 0.2]
blind = [source for source in SOURCES if source not in working]
both = table[table["arm"].str.endswith(("/plain", "/rescaled"))].assign(
    scaling=lambda rows: rows["arm"].str.split("/").str[2],
    base=lambda rows: rows["arm"].str.rsplit("/", n=1).str[0],
)
pairs = both.pivot(index=["base", "seed", "round"], columns="scaling", values="test_accuracy")
page.glue(
    sm_seeds=record.plan["seeds"],
    sm_untrained=100 * whole.mean(),
    sm_trained=100 * trained.mean,
    sm_same_initial=100 * means["initial"][SAME_SIGN],
    sm_same_constant=100 * means["constant"][SAME_SIGN],
    sm_large_initial=100 * means["initial"]["large_final"],
    sm_large_constant=100 * means["constant"]["large_final"],
    sm_random=100 * max(means[values]["random"] for values in means),
    sm_best_initial=rank["initial"][0],
    sm_best_initial_accuracy=100 * means["initial"].max(),
    sm_best_constant=rank["constant"][0],
    sm_best_constant_accuracy=100 * means["constant"].max(),
    sm_rank_initial=rank["initial"].index(SAME_SIGN) + 1,
    sm_rank_constant=rank["constant"].index(SAME_SIGN) + 1,
    sm_blind=", ".join(blind) if blind else "none",
    sm_better_constants=len(better_constants),
    sm_gain_large=100 * (means["initial"][SAME_SIGN] - means["initial"]["large_final"]),
    sm_gain_increase=100
    * (means["initial"]["magnitude_increase_same_sign"] - means["initial"]["magnitude_increase"]),
    sm_working=len(working),
    sm_pairs=len(pairs),
    sm_rescaling_changes=int((pairs["plain"] != pairs["rescaled"]).sum()),
    sm_rescaling_most=100 * (pairs["plain"] - pairs["rescaled"]).abs().max(),
)
page.table(
    frame,
    caption="Each criterion's mask at the density that validation accuracy chooses: test accuracy in "
    "percent, mean and half its 95 % interval over seeds, and the share of weights left there.",
)

# %% [markdown]
# With all its weights the untrained network is right {glue:text}`sm_untrained:.1f` % of the time. The best
# part of it that `large_final` finds reaches {glue:text}`sm_large_initial:.1f` %, and
# {glue:text}`sm_large_constant:.1f` % over signed constants; `large_final_same_sign` gives {glue:text}`sm_same_initial:.1f` % and
# {glue:text}`sm_same_constant:.1f` %. Trained, the same network reaches {glue:text}`sm_trained:.1f` %. A random mask finds
# nothing ({glue:text}`sm_random:.1f` % at its best density), so it is not the removing that
# does it but the choice.
#
# Two things about {numref}`fig-supermasks-criteria` are worth a second look. Where the choice is good, accuracy
# rises at first as weights are *removed*, and falls only when too few are left. And some criteria find nothing:
# {glue:text}`sm_blind` stay below 20 % over either kind of weights, at any density. A mask that works must tell the
# weights that help from those that hurt, so a score has to know the sign of the change. `movement`,
# `snip` and `grad` rank by a size, of a step or of a gradient, in whichever direction; and
# `large_final_diff_sign` keeps exactly what should go. The sign shows among the others, too: each of the two scores that
# has a form with kept signs gains by it, over $w_i$ {glue:text}`sm_gain_large:.1f` points (`large_final`) and
# {glue:text}`sm_gain_increase:.1f` (`magnitude_increase`).
#
# The paper names `large_final_same_sign` as the best criterion. Of the {glue:text}`sm_working` that find anything,
# it is number {glue:text}`sm_rank_initial` over $w_i$ and number {glue:text}`sm_rank_constant` over signed
# constants. The best over $w_i$ is {glue:text}`sm_best_initial` with {glue:text}`sm_best_initial_accuracy:.1f` %, the best over
# signed constants {glue:text}`sm_best_constant` with {glue:text}`sm_best_constant_accuracy:.1f` %. That signed constants do better than
# $w_i$ holds for {glue:text}`sm_better_constants` of the {glue:text}`sm_working` criteria, not for the others.
#
# ### Rescaling changes nothing here
#
# These records also hold every mask with its weights rescaled, and the figure does not show them, for a
# simple reason. An untrained network has no biases. Multiply a layer of such a network by $c > 0$, and all its outputs are multiplied by
# $c$; the ReLU lets the factor pass, and so does every layer above. In the end all ten logits are multiplied by the same number, and the largest
# stays the largest. Rescaling makes an answer more confident, never another one. In the records, of {glue:text}`sm_pairs:,`
# pairs of masks with and without it, {glue:text}`sm_rescaling_changes:,` differ in accuracy
# (rounding can turn a tie), the most by {glue:text}`sm_rescaling_most:.2f` points. If rescaling helps learned masks, it must help the *learning*.
#
# ## Learned masks
#
# Now the network is never trained at all, not even for its scores. Every weight gets a real number $m$, and is kept with
# probability $\sigma(m) = 1 / (1 + e^{-m})$. At every forward pass a mask is drawn afresh,
#
# $$w' = w_i \odot S, \qquad S \sim \operatorname{Bernoulli}(\sigma(m)),$$
#
# and $m$ follows the gradient of the loss. A coin toss has none, so it is taken *straight through* the toss
# {cite:p}`bengio2013estimating`, as if $S$ were $\sigma(m)$ itself:
#
# $$\frac{\partial L}{\partial m} \approx \frac{\partial L}{\partial w'} \; w_i \; \sigma(m)\,(1 - \sigma(m)).$$
#
# All $m$ start at zero, so at first every weight is kept half of the time. Everything else is as in the paper: plain
# SGD, a rate of {glue:text}`sm_rate:g` (scores move slowly: the gradient has passed a small weight and a slope of at most a quarter), momentum 0.9,
# batches of {glue:text}`sm_batch`. The paper learns for up to 2,000 epochs, these records for {glue:text}`sm_epochs`.
# *Dynamic weight rescaling* multiplies each layer, at every forward pass, by the number of its weights over the number of ones in the
# mask just drawn; where the paper is silent, we take that factor for a constant in the gradient. Accuracy is the
# mean over {glue:text}`sm_samples` sampled masks.


# %% tags=["remove-input"]
def after_learning(table, arm, column="test_accuracy"):
    """A column of a learned mask in percent after its last epoch, over the seeds."""
    last = table[(table["round"] == table["round"].max()) & (table["arm"] == arm)]
    return claims.interval(100 * last[column])


final = {arm: after_learning(masks_table, arm) for arm in VARIANTS}
worst_of_four = min(known.mean for known in final.values())
by_epoch = masks_table.groupby(["arm", "round"])["test_accuracy"].mean()
first_look = sorted(set(masks_table["round"]))[1]
page.glue(
    sm_rate=learned.plan["learning_rate"],
    sm_batch=learned.plan["batch_size"],
    sm_epochs=learned.plan["epochs"],
    sm_samples=supermasks.SAMPLES,
    sm_first_look=first_look,
    sm_worst_learned=worst_of_four,
    sm_early_plain=100 * by_epoch["learned/initial/plain", first_look],
    sm_early_rescaled=100 * by_epoch["learned/initial/rescaled", first_look],
    **{
        f"sm_{arm.replace('learned/', '').replace('/', '_')}": known.mean
        for arm, known in final.items()
    },
)
page.show(
    figures.epoch_curves(
        {"FC": masks_table},
        {"FC": trained},
        window=(min(worst_of_four - 5, 100 * trained.mean - 10), 100),
    ),
    name="fig-supermasks-epochs",
    alt="Test accuracy of learned masks over the epochs of learning, the top of the scale. Four lines, masks over initial values and over signed constants, each plain and "
    f"rescaled, rise from chance to between {worst_of_four:.1f} and "
    f"{max(known.mean for known in final.values()):.1f} percent; the trained network's accuracy is a "
    "horizontal line.",
    caption="Learning a mask over weights that never change: mean test accuracy of "
    f"{supermasks.SAMPLES} sampled masks, mean and 95 % interval over seeds; all begin at chance, far below. "
    "*Dotted line*: the same network with trained weights.",
    source=learned.provenance(),
)

# %% [markdown]
# After {glue:text}`sm_first_look` epochs the mask over $w_i$ is right {glue:text}`sm_early_plain:.1f` % of the time, the rescaled one
# {glue:text}`sm_early_rescaled:.1f` %. At the end the four stand at
#
# | | plain | rescaled |
# |---|---|---|
# | $w_i$ | {glue:text}`sm_initial_plain:.1f` % | {glue:text}`sm_initial_rescaled:.1f` % |
# | signed constants | {glue:text}`sm_constant_plain:.1f` % | {glue:text}`sm_constant_rescaled:.1f` % |
#
# against {glue:text}`sm_trained:.1f` % for the network with trained weights. Not one weight of these networks has
# learned anything.
#
# ### The paper's table 2, beside ours

# %% tags=["remove-input"]
beside = claims.table_2(preset, ["fc"])
difference = beside["ours"] - beside["paper"]
short = records.read("supermasks-fc-cpu")  # the same masks, of networks trained for less long
briefly = figures.best_masks(
    short.table, [f"{SAME_SIGN}/{values}/plain" for values in catalogue.MASK_VALUES]
)
briefly = 100 * briefly.groupby("arm")["test_accuracy"].mean()
page.glue(
    sm_criterion_initial=float(beside["ours"].iloc[0]),
    sm_criterion_constant=float(beside["ours"].iloc[1]),
    sm_dense_epochs=record.plan["epochs"],
    sm_brief_epochs=short.plan["epochs"],
    sm_brief_initial=briefly[f"{SAME_SIGN}/initial/plain"],
    sm_brief_constant=briefly[f"{SAME_SIGN}/constant/plain"],
    sm_furthest=float(difference.abs().max()),
    sm_furthest_column=beside.loc[difference.abs().idxmax(), "column"],
    sm_furthest_side="above" if difference[difference.abs().idxmax()] > 0 else "below",
)
shown = pd.DataFrame(
    {
        "": beside["column"],
        "paper": beside["paper"].map("{:.1f}".format),
        "ours": [f"{row.ours:.1f} ± {row.high - row.ours:.1f}" for row in beside.itertuples()],
        "difference": difference.map("{:+.1f}".format),
    }
)
page.table(
    shown,
    caption="Test accuracy in percent, FC: the paper's table 2, and these records (mean and half the "
    "95 % interval over seeds). The criterion is large_final_same_sign at the density that validation accuracy chooses.",
    index=False,
)

# %% [markdown]
# The largest difference is {glue:text}`sm_furthest:.1f` points, ours {glue:text}`sm_furthest_side` the paper's, for “{glue:text}`sm_furthest_column`”.
# Masks were learned for a part of the paper's epochs, named under {numref}`fig-supermasks-epochs`, which shows that they had not stopped
# getting better. With the criterion masks it is the other way round: a longer training of the network that they are read from makes them
# *worse*. After {glue:text}`sm_brief_epochs` epochs `large_final_same_sign` gives {glue:text}`sm_brief_initial:.1f` % over $w_i$ and
# {glue:text}`sm_brief_constant:.1f` % over signed constants (record supermasks-fc-cpu); after {glue:text}`sm_dense_epochs` epochs,
# {glue:text}`sm_criterion_initial:.1f` % and {glue:text}`sm_criterion_constant:.1f` %. How far learned masks are ahead of criterion masks, therefore,
# depends on how long the network was trained that the criterion looked at.
#
# ## Learn one yourself
#
# The whole of it in fifteen lines: all four masks at once, on the digits that come with scikit-learn, in some
# seconds. Change the rate, the batch, the epochs, the network's `width`, or the variants. `learner` is used again below.

# %%
from dltlib import datasets, training

digits = datasets.load("digits")
small = networks.build("fc", digits.input_shape, width=1.0)
variants = [
    ("learned", values, scaling)
    for values in catalogue.MASK_VALUES
    for scaling in catalogue.MASK_SCALINGS
]
settings = training.Settings(epochs=60, learning_rate=100, batch_size=250)

learner = supermasks.Learner.of_variants(small, variants, seeds=[0] * len(variants))
progress = {0: learner.accuracy(digits.test)}
for epoch in range(settings.epochs):
    learner.learn(digits, settings, epoch)  # one epoch; the weights stay what they are
    if (epoch + 1) % 10 == 0:
        progress[epoch + 1] = learner.accuracy(digits.test)

# %% tags=["hide-input", "nbval-ignore-output"]
# Another kind of processor rounds differently, so these numbers may differ in a last digit or two.
names = [figures.variant_name("/".join(variant)) for variant in variants]
names = [name.replace("$w_i$", "w_i") for name in names]
page.table(
    pd.DataFrame(
        {names[i]: [100 * p[i].item() for p in progress.values()] for i in range(len(names))},
        index=pd.Index(progress, name="epochs"),
    ).T,
    caption="Test accuracy in percent on digits, mean of ten sampled masks, after so many epochs.",
    decimals=1,
)

# %% [markdown]
# Has each of them learned to classify, and are the rescaled ones ahead?

# %%
reached = progress[settings.epochs]
bool(reached.min() > 0.8), bool(reached[[1, 3]].min() > reached[[0, 2]].max())

# %% [markdown]
# ## What rescaling does
#
# We saw that rescaling cannot change what a given mask answers. What it changes is the scale of the
# logits, hence of the loss, hence of every gradient. At the start half of the weights are kept, so each layer is
# doubled. If that is all, then *doubling the weights once*, and rescaling nothing, should do as well. The
# next cell learns three masks over $w_i$: as it is, twice as large, and dynamically rescaled.

# %%
import torch

scales = {"w_i": 1.0, "2 w_i": 2.0, "w_i, rescaled": 1.0}
factors = torch.tensor(list(scales.values())).view(-1, 1, 1)
values = [factors * weight for weight in networks.initial_weights(small, [0] * len(scales))]
rescaled = torch.tensor([name.endswith("rescaled") for name in scales])

contest = supermasks.Learner.start(small, values, rescaled, seeds=[0] * len(scales))
for epoch in range(settings.epochs):
    contest.learn(digits, settings, epoch)
outcome = dict(zip(scales, contest.accuracy(digits.test).tolist()))

# %% tags=["hide-input", "nbval-ignore-output"]
page.table(
    pd.DataFrame({"test accuracy (%)": {name: 100 * share for name, share in outcome.items()}}).T,
    caption="Learned masks on digits: larger weights against dynamic rescaling.",
    decimals=1,
)

# %% [markdown]
# Does the mere factor close the gap between plain and rescaled, to within a percentage point?

# %%
bool(outcome["2 w_i"] > outcome["w_i, rescaled"] - 0.01)

# %% [markdown]
# On this network, then, what rescaling adds is scale, and it adds it without anyone having to find the
# factor: it follows the mask as it changes, layer by layer. It also says that a figure for learned masks *without* rescaling is a figure for one
# initial scale of the weights: other than a network that is trained, which soon outgrows its initial values, this one has to live with them.
#
# ## Straight through to what?
#
# The coin toss has no gradient, and where it is bridged is a choice. We took $S$ for $\sigma(m)$, so the slope of
# $\sigma$ is left in the gradient: at most a quarter, and next to nothing once a weight is nearly always kept or nearly always dropped.
# The other straight-through estimator {cite:p}`bengio2013estimating` bridges the sigmoid too, and the rescaling with it, as if the weight
# in use were $w_i\, m$:
#
# $$\frac{\partial L}{\partial m} \approx \frac{\partial L}{\partial w'} \; w_i.$$
#
# The masks are drawn as before; only the steps of $m$ differ, the sources being called `learned` and `learned_identity`. On digits:

# %%
both = [
    (source, values, scaling)
    for source in catalogue.LEARNED_SOURCES
    for values in catalogue.MASK_VALUES
    for scaling in catalogue.MASK_SCALINGS
]
bridged = supermasks.Learner.of_variants(small, both, seeds=[0] * len(both))
for epoch in range(settings.epochs):
    bridged.learn(digits, settings, epoch)
by_source = dict(zip(both, bridged.accuracy(digits.test).tolist()))

# %% tags=["hide-input", "nbval-ignore-output"]
HEADS = {"learned": "through to σ(m)", "learned_identity": "through to m"}
page.table(
    pd.DataFrame(
        {
            head: [100 * by_source[source, *variant] for _, *variant in variants]
            for source, head in HEADS.items()
        },
        index=names,
    ),
    caption="Test accuracy in percent on digits, mean of ten sampled masks, by where the gradient goes straight through to.",
    decimals=1,
)

# %% [markdown]
# Is every kind of mask better off when the gradient goes straight through to $m$?

# %%
all(
    by_source["learned_identity", *variant] > by_source["learned", *variant]
    for _, *variant in variants
)

# %% tags=["remove-input"]
identity = records.read(records.largest("identity_supermasks", "fc", preset))
bridged_to_m = {
    arm: after_learning(identity.table, arm.replace("learned/", "learned_identity/"))
    for arm in VARIANTS
}
lead = {arm: bridged_to_m[arm].mean - final[arm].mean for arm in VARIANTS}
plain_lead, rescaled_lead = (
    sum(value for arm, value in lead.items() if arm.endswith(scaling)) / 2
    for scaling in ("plain", "rescaled")
)
table_2 = beside.set_index("column")["paper"]
of_paper = {
    arm: table_2[
        f"learned {'+ DWR' if 'rescaled' in arm else 'mask'}, {'w_i' if 'initial' in arm else 'S.C.'}"
    ]
    for arm in VARIANTS
}
page.glue(
    sm_plain_lead=plain_lead,
    sm_rescaled_lead=rescaled_lead,
    sm_end_epochs=identity.plan["epochs"],
)
page.table(
    pd.DataFrame(
        {
            HEADS["learned"]: [
                claims.bracketed(final[arm].mean, final[arm].low, final[arm].high)
                for arm in VARIANTS
            ],
            HEADS["learned_identity"]: [
                claims.bracketed(one.mean, one.low, one.high) for one in bridged_to_m.values()
            ],
            "paper": [f"{of_paper[arm]:.1f}" for arm in VARIANTS],
        },
        index=names,
    ),
    caption=f"Test accuracy in percent, {identity.scale()}, after {identity.plan['epochs']} epochs of learning the mask (mean and 95 % "
    f"interval over seeds), and the paper's, after up to 2,000. Remake: {identity.manifest['command']}",
)

# %% [markdown]
# So it is in the records too: after {glue:text}`sm_end_epochs` epochs the identity is {glue:text}`sm_plain_lead:+.1f` points from the first estimator
# without rescaling, in the mean of both kinds of values, and {glue:text}`sm_rescaled_lead:+.1f` with it. That is again the size of the step, which
# the slope makes four times smaller at the start and rescaling about twice as large: the masks that move most slowly gain most.
# {glue:text}`sm_conv_identity`
#
# Everything else in this book is learned with the
# first estimator, and the claims are judged by it.
#
# ## What a mask looks at
#
# A learned mask can be looked at. Each input pixel has one weight to every unit of the first layer; {numref}`fig-supermasks-pixels`
# shows the share of them that are more likely kept than not, in the place of the pixel.

# %% tags=["remove-input"]
arrays = records.read_arrays(learned.name)
seeds = range(learned.plan["seeds"])
first_layer = network.layers[0]


def first_masks(arm):
    """The first-layer masks of every seed, [pixels, units] each."""
    return [
        records.unpack_mask(
            arrays[f"mask/{arm}/{seed}/{first_layer.name}"], first_layer.shape
        ).numpy()
        for seed in seeds
    ]


picture = SHAPE[1:]
all_masks = {arm: first_masks(arm) for arm in VARIANTS}
untouched = figures.untouched_pixels([mask for own in all_masks.values() for mask in own], picture)
shares = {
    figures.variant_name(arm): figures.pixel_shares(own, picture) for arm, own in all_masks.items()
}
height, width = picture
inner = torch.zeros(picture, dtype=torch.bool)
inner[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
inner = inner.numpy()
most = max(share[~untouched].max() for share in shares.values())
least = min(share[~untouched].min() for share in shares.values())
page.glue(
    sm_untouched=int(untouched.sum()),
    sm_pixels=untouched.size,
    sm_units=first_layer.shape[1],
    sm_most=100 * most,
    sm_least=100 * least,
    **{
        f"sm_inner_{arm.split('/')[1]}_{arm.split('/')[2]}": 100 * share[inner].mean()
        for arm, share in zip(VARIANTS, shares.values())
    },
    **{
        f"sm_outer_{arm.split('/')[1]}_{arm.split('/')[2]}": 100 * share[~inner & ~untouched].mean()
        for arm, share in zip(VARIANTS, shares.values())
    },
)
page.show(
    figures.pixel_maps(shares, untouched),
    name="fig-supermasks-pixels",
    alt="Four pictures in the shape of the input, for masks over initial values and over signed "
    "constants, plain and rescaled. Colour is the share of a pixel's weights that the mask keeps, "
    f"around one half: from {100 * least:.0f} to {100 * most:.0f} percent. Pixels that are dark in every "
    "image are grey, at the corners and along the edges.",
    caption="The share of each input pixel's first-layer weights that learned masks keep (probability "
    "one half or more), mean over seeds. *White*: one half, as before learning; *red*: more is kept; "
    "*blue*: less. *Grey*: pixels whose scores never moved.",
    source=learned.provenance(),
)

# %% [markdown]
# {glue:text}`sm_untouched` of the {glue:text}`sm_pixels` pixels are grey: of their {glue:text}`sm_units` weights not one was dropped, in any mask
# and with any seed. That is no preference. Those pixels are dark in every training image, their weights never met a gradient,
# their scores are still exactly zero, and zero counts as kept. Red pixels along the rim are a weaker form of it: lit in a handful of images,
# they have many weights that were never asked. Elsewhere the picture is almost white. All in all a pixel keeps between
# {glue:text}`sm_least:.0f` and {glue:text}`sm_most:.0f` % of its weights, and in the middle (half the height and width), where the ink is, and around it the four
# variants keep on average
#
# | kept, middle / around it | plain | rescaled |
# |---|---|---|
# | $w_i$ | {glue:text}`sm_inner_initial_plain:.1f` / {glue:text}`sm_outer_initial_plain:.1f` % | {glue:text}`sm_inner_initial_rescaled:.1f` / {glue:text}`sm_outer_initial_rescaled:.1f` % |
# | signed constants | {glue:text}`sm_inner_constant_plain:.1f` / {glue:text}`sm_outer_constant_plain:.1f` % | {glue:text}`sm_inner_constant_rescaled:.1f` / {glue:text}`sm_outer_constant_rescaled:.1f` % |
#
# of the weights. So a supermask hardly looks at some pixels and away from others, as one might expect of a tool that can only
# delete: a pixel in the middle loses nearly as many weights as any. It decides weight by weight, by what each would do to its unit.
#
# Nor does it remove much. {numref}`fig-supermasks-layers` follows the expected share of weights kept, layer by layer.

# %% tags=["remove-input"]
layer_names = [layer.name for layer in network.layers]
long = figures.layer_densities(masks_table, layer_names)
at_end = long[long["round"] == long["round"].max()].groupby(["layer", "arm"])["density"].mean()
page.glue(
    sm_layer_low=100 * at_end.min(),
    sm_layer_high=100 * at_end.max(),
    sm_layer_low_name=at_end.idxmin()[0],
    sm_layer_high_name=at_end.idxmax()[0],
    sm_density_low=min(after_learning(masks_table, arm, "density").mean for arm in VARIANTS),
    sm_density_high=max(after_learning(masks_table, arm, "density").mean for arm in VARIANTS),
    **{f"sm_kept_{name}": 100 * at_end[name].mean() for name in layer_names},
)
page.show(
    figures.layer_density_curves(masks_table, layer_names),
    name="fig-supermasks-layers",
    alt="Expected share of weights kept over the epochs of learning, a panel for each layer: "
    + "; ".join(f"{name} ends near {100 * at_end[name].mean():.0f} percent" for name in layer_names)
    + ". Four lines each, masks over initial values and signed constants, plain and rescaled.",
    caption="The mean mask probability of each layer while masks are learned. Mean and 95 % interval over "
    "seeds.",
    source=learned.provenance(),
)

# %% [markdown]
# All in all between {glue:text}`sm_density_low:.1f` and {glue:text}`sm_density_high:.1f` % of the weights are kept. Nothing in the loss asks for fewer: a mask is learned to be
# right, not to be sparse. The layers differ, from {glue:text}`sm_layer_low:.1f` % (*{glue:text}`sm_layer_low_name`*) to {glue:text}`sm_layer_high:.1f` %
# (*{glue:text}`sm_layer_high_name`*) for one of the variants.
#
# Close to one half on average does not mean undecided. {numref}`fig-supermasks-probabilities` shows how the
# probabilities themselves spread.

# %% tags=["remove-input"]
epochs = int(masks_table["round"].max())


def decided(arm):
    """Share of weights whose mask probability ends below 0.1 or above 0.9."""
    shares = figures.probability_histogram(masks_table, arm, epochs)
    return 100 * (shares[:2].sum() + shares[-2:].sum())


page.glue(
    **{f"sm_decided_{arm.split('/', 1)[1].replace('/', '_')}": decided(arm) for arm in VARIANTS}
)
page.show(
    figures.probability_panels(masks_table),
    name="fig-supermasks-probabilities",
    alt="Histograms of mask probabilities at several epochs, four panels, masks over initial values and "
    "over signed constants, plain and rescaled, on a log scale. They begin as a peak at one half and "
    "spread towards zero and one as learning goes on.",
    caption="How sure a mask is of each weight: histograms of $\\sigma(m)$ at some epochs, the later the "
    "darker, mean over seeds. At epoch 0 all weights stand at ½, where those of dark pixels remain.",
    source=learned.provenance(),
)

# %% [markdown]
# At the end the weights that are all but decided, with a probability under 0.1 or over 0.9, make up
#
# | | plain | rescaled |
# |---|---|---|
# | $w_i$ | {glue:text}`sm_decided_initial_plain:.1f` % | {glue:text}`sm_decided_initial_rescaled:.1f` % |
# | signed constants | {glue:text}`sm_decided_constant_plain:.1f` % | {glue:text}`sm_decided_constant_rescaled:.1f` % |
#
# and the rest is not all on its way. The gradient of a score carries the weight itself as a factor, so over $w_i$ a small weight's
# probability hardly moves, and hardly matters; over signed constants, where all weights of a layer have one size, more are decided.
#
# The same can be drawn for the masks learned above, on digits:

# %% tags=["hide-input"]
maps = {
    name: probability.mean(1).reshape(small.input_shape[1:]).numpy()
    for name, probability in zip(
        [figures.variant_name("/".join(variant)) for variant in variants],
        learner.probabilities()[0],
    )
}
dark = (digits.train.images.amax(dim=(0, 1)) == 0).numpy()
page.show(
    figures.pixel_maps(maps, dark),
    name="fig-supermasks-digits",
    alt="Four pictures of eight by eight pixels: the expected share of each pixel's weights that the masks learned on "
    "digits above keep, over initial values and signed constants, plain and rescaled.",
    caption="As {numref}`fig-supermasks-pixels`, for the masks of the live cell: the mean mask probability of each pixel's weights. "
    "*Grey*: pixels dark in every training image.",
    source="Made by the cells above, on digits, seed 0.",
)

# %% [markdown]
# ## The tickets that learned masks define
#
# A mask over $w_i$ is a lottery ticket: the weights that it keeps, at their initial values. What is such a ticket worth
# when it is trained after all? And as scores rank weights, they can cut a ticket of any size: keep those
# with the largest $m$. So a learned score is one more criterion, the only one that never saw a trained weight.
#
# The next cell learns masks over $w_i$ with three seeds, and sets their tickets against two of the same size in
# every layer: large final weights, pruned in one shot, and random ones.

# %%
from dltlib import pruning, randomness

seeds = [0, 1, 2]
fractions = [None, 0.3, 0.1, 0.05]  # None: as many as the mask itself keeps
short = training.Settings(epochs=12, learning_rate=1.2e-3, evaluate_every=26)

kinds = [("learned", "initial", "rescaled")] * len(seeds)
scores = supermasks.Learner.of_variants(small, kinds, seeds)
for epoch in range(settings.epochs):
    scores.learn(digits, settings, epoch)
initial = networks.initial_weights(small, seeds)
full = [torch.ones_like(weight, dtype=torch.bool) for weight in initial]
dense = training.train(small, digits, initial, full, seeds, short)


def uniform(layer):
    """Named draws for random tickets, [replica, in, out]."""
    named = [randomness.generator(seed, layer.name) for seed in seeds]
    return torch.stack([torch.rand(layer.shape, generator=one) for one in named])


rankings = {
    "learned/initial/rescaled": scores.scores,
    "large_final/rewind/zero": [weight.abs() for weight in dense.weights],
    "random/rewind/zero": [uniform(layer) for layer in small.layers],
}
own_counts = [int(mask.sum() / len(seeds)) for mask in scores.likely()]
rows = []
for number, fraction in enumerate(fractions, 1):
    counts = own_counts
    if fraction is not None:
        counts = [pruning.kept_count(one.weight_count, fraction) for one in small.layers]
    for arm, ranking in rankings.items():
        masks = list(map(pruning.prune, ranking, full, counts))
        start = [weight * mask for weight, mask in zip(initial, masks)]
        untrained = supermasks.accuracy(small, start, digits.test)
        ticket = training.train(small, digits, start, masks, seeds, short)
        for index, seed in enumerate(seeds):
            rows.append(
                {
                    "arm": arm,
                    "seed": seed,
                    "round": number,
                    "density": sum(counts) / small.weight_count,
                    "untrained": untrained[index].item(),
                    "test_accuracy": ticket.early_test[index].item(),
                }
            )

# %% tags=["hide-input"]
tickets = pd.DataFrame(rows)
dense_rows = [
    {
        "arm": arm,
        "seed": seed,
        "round": 0,
        "density": 1.0,
        "test_accuracy": dense.early_test[index].item(),
    }
    for arm in rankings
    for index, seed in enumerate(seeds)
]
titles = {
    "learned/initial/rescaled": "learned",
    "large_final/rewind/zero": "large_final",
    "random/rewind/zero": "random",
}
drawing = figures.accuracy_curves(
    pd.concat([tickets, pd.DataFrame(dense_rows)]), list(rankings), names=titles
)
drawing.axes[0].set_ylim(top=101)
page.show(
    drawing,
    name="fig-supermasks-tickets",
    alt="Test accuracy of trained tickets on digits against the share of weights left, for three ways to choose "
    "them: learned mask scores, large final weights and at random, and the dense network as a line.",
    caption="Tickets that learned masks define, trained: test accuracy at early stopping on digits, against "
    "tickets of the same size in every layer chosen by large final weights (one shot) and at random. Mean and 95 % interval over seeds.",
    source=f"Made by the cell above: FC on digits, {len(seeds)} seeds, {short.epochs} epochs a training.",
)

# %% tags=["hide-input", "nbval-ignore-output"]
summary = tickets.groupby(["round", "arm"])[["untrained", "test_accuracy"]].mean() * 100
by_size = summary.unstack("arm")
left = [figures.percent(share) for share in tickets.groupby("round")["density"].mean()]
change = {
    titles[arm]: [
        f"{before:.1f} → {after:.1f}"
        for before, after in zip(by_size["untrained", arm], by_size["test_accuracy", arm])
    ]
    for arm in rankings
}
page.table(
    pd.DataFrame(change, index=left),
    caption="Test accuracy in percent on digits, mean of the seeds, of tickets as drawn → trained, by weights left.",
)

# %% [markdown]
# Does the learned ticket end ahead of the random one at every size, and never more than three points behind `large_final`?

# %%
ends = by_size["test_accuracy"]
ahead = ends["learned/initial/rescaled"] - ends["random/rewind/zero"]
behind = ends["large_final/rewind/zero"] - ends["learned/initial/rescaled"]
bool(ahead.min() > 0), bool(behind.max() < 3)

# %% [markdown]
# A learned ticket is as good a ticket as `large_final`'s, though no trained weight had a say in it, and it starts where others have yet to
# arrive: with half or a third of the weights it classifies before the first step of training, nearly as well as it ever will. It
# is no cheaper way to a ticket, for learning the mask takes as many steps as training the network.
#
# The masks that were learned on MNIST are saved beside the record, packed eight weights a byte. To train the tickets that *they*
# define, read them as {numref}`fig-supermasks-pixels` does, with `records.read_arrays` and `records.unpack_mask`, and pass them to `training.train`.
#
# ## Convolutional networks
#
# The paper's other three networks classify CIFAR-10.

# %% tags=["remove-input"]
CONV = ("conv2", "conv4", "conv6")
there = records.available()
shelf = {
    (experiment, name): records.read(f"{experiment}-{name}-cpu")
    for experiment in ("supermasks", "learned_supermasks", "learning_rates")
    for name in CONV
    if f"{experiment}-{name}-cpu" in there
}
conv_learned = {
    name: shelf["learned_supermasks", name]
    for name in CONV
    if ("learned_supermasks", name) in shelf
}
conv_criterion = {name: shelf["supermasks", name] for name in CONV if ("supermasks", name) in shelf}
tried = {name: shelf["learning_rates", name] for name in CONV if ("learning_rates", name) in shelf}


def listed(words):
    """Words in a row: "a, b and c"."""
    *most, end = list(words) or ["none"]
    return f"{', '.join(most)} and {end}" if most else end


shown = conv_learned or conv_criterion
scales = listed(
    f"{figures.NETWORK_NAMES[name]} ({other.scale().split(', ', 1)[-1]})"
    for name, other in shown.items()
)
rates = listed(
    f"{other.plan['learning_rate']:g} for {figures.NETWORK_NAMES[name]}"
    for name, other in conv_learned.items()
)
ends_at = {
    (name, values, scaling): after_learning(other.table, f"learned/{values}/{scaling}").mean
    for name, other in conv_learned.items()
    for values in catalogue.MASK_VALUES
    for scaling in catalogue.MASK_SCALINGS
}
identity_ends = []
if "conv2" in conv_learned and "identity_supermasks-conv2-cpu" in there:
    other = records.read("identity_supermasks-conv2-cpu")
    identity_ends = [
        after_learning(other.table, f"learned_identity/{values}/plain").mean
        for values in catalogue.MASK_VALUES
    ]
stuck = [
    f"{figures.variant_name(f'learned/{values}/{scaling}').replace('$w_i$', 'w_i')} "
    f"({figures.NETWORK_NAMES[name]}, {share:.1f} %)"
    for (name, values, scaling), share in ends_at.items()
    if share < 15
]
page.glue(
    sm_conv_identity="On the small Conv2 shown below, at the rate that was chosen for the first estimator, the identity's longer steps "
    f"do worse: without rescaling its masks are right {sum(identity_ends) / len(identity_ends):.1f} % of the time, the first estimator's "
    f"{sum(ends_at['conv2', values, 'plain'] for values in catalogue.MASK_VALUES) / len(catalogue.MASK_VALUES):.1f} %."
    if identity_ends
    else "",
    sm_conv_shown=f"What is here is small: {scales}. It shows that the method runs on convolutions "
    "and what it gives at this scale, no more; the paper’s networks are wider, saw all images and had many more epochs."
    if shown
    else "No record of masks on them is in this book yet.",
    sm_conv_rates=f"The records use {rates}." if conv_learned else "",
    sm_conv_best=f"The best learned mask here is right {max(ends_at.values()):.1f} % of the time."
    if ends_at
    else "",
    sm_conv_stuck="Not above 15 %, which is little more than chance, end: " + "; ".join(stuck) + "."
    if stuck
    else "",
    sm_tried=listed(figures.NETWORK_NAMES[name] for name in tried),
)

# %% [markdown]
# {glue:text}`sm_conv_shown`
#
# The paper does not give its rates for these networks, as far as we know, so ours were chosen: a grid of rates,
# masks over $w_i$ plain and rescaled, one seed, and the highest mean *validation* accuracy; the test images were not looked at.
# Tried on: {glue:text}`sm_tried`; the other networks take over the choice. {glue:text}`sm_conv_rates`

# %% tags=["remove-input"]
if tried:
    grid = pd.concat([other.table.assign(network=name) for name, other in tried.items()])
    grid["rate"] = grid["arm"].str.split("/").str[3].astype(float)
    grid["kind"] = grid["arm"].str.split("/").str[2]
    validation = 100 * grid.pivot(
        index=["network", "kind"], columns="rate", values="validation_accuracy"
    )
    validation.index = [f"{figures.NETWORK_NAMES[name]}, {kind}" for name, kind in validation.index]
    validation.columns = [f"{rate:g}" for rate in validation.columns]
    example = next(iter(tried.values()))
    page.table(
        validation,
        caption=f"Validation accuracy in percent by learning rate, masks over w_i after {example.plan['epochs']} epochs, one seed "
        f"({example.scale().split(', ', 1)[-1]}). Remake: {example.manifest['command']}",
        decimals=1,
    )
    ahead = 100 * grid.pivot_table(index="kind", columns="rate", values="validation_accuracy")
    at_best = ahead.mean().idxmax()
    losses = grid[grid["rate"] == at_best].groupby("kind")["training_loss"].mean()
    page.glue(
        sm_grid=f"Over {len(ahead.columns)} rates, {at_best:g} is the best on average: plain masks reach "
        f"{ahead.loc['plain', at_best]:.1f} % on the validation images, rescaled ones {ahead.loc['rescaled', at_best]:.1f} %, "
        f"with training losses of {losses['plain']:.3f} and {losses['rescaled']:.3f}. "
        f"A network that answers nothing, all its logits being equal, has a loss of ln 10 = {math.log(10):.3f}.",
    )
else:
    page.glue(sm_grid="")

# %% [markdown]
# {glue:text}`sm_grid` With an eighth of the channels, a sampled mask is mostly noise, and the larger the logits the
# more that noise costs: where rescaled masks fail, they seem to have learned to make it small before they learned to make it right. On a
# wider network the law of large numbers would do that for them, but no record here shows it.

# %% tags=["remove-input"]
if conv_learned:
    baselines = {
        other.scale(): figures.dense_baseline(
            conv_criterion[name].table[lambda rows: rows["arm"] == "trained"]
        )
        for name, other in conv_learned.items()
        if name in conv_criterion
    }
    page.show(
        figures.epoch_curves(
            {other.scale(): other.table for other in conv_learned.values()}, baselines
        ),
        name="fig-supermasks-conv",
        alt="Test accuracy of learned masks over the epochs of learning on reduced convolutional networks, a panel for each: "
        + "; ".join(other.scale() for other in conv_learned.values())
        + ". Four lines each: masks over initial values and over signed constants, plain and rescaled.",
        caption="Learned masks on small convolutional networks, CIFAR-10: mean over 10 sampled masks, mean and 95 % interval "
        "over seeds. *Dotted line*: trained weights, where a record has them.",
        source=" ".join(other.provenance() for other in conv_learned.values()),
    )

# %% [markdown]
# {glue:text}`sm_conv_best` {glue:text}`sm_conv_stuck`

# %% tags=["remove-input"]
if conv_learned or conv_criterion:
    beside = claims.table_2(
        "cpu", [name for name in CONV if name in conv_learned or name in conv_criterion]
    )
    names_of = figures.NETWORK_NAMES
    body = {}
    for name, rows_of in beside.groupby("network", sort=False):
        body[f"{names_of[name]}: paper"] = rows_of["paper"].map("{:.1f}".format).tolist()
        body[f"{names_of[name]}: ours, small"] = [
            "" if pd.isna(row.ours) else f"{row.ours:.1f} ± {row.high - row.ours:.1f}"
            for row in rows_of.itertuples()
        ]
    page.table(
        pd.DataFrame(body, index=list(dict.fromkeys(beside["column"]))),
        caption="Test accuracy in percent: the paper's table 2 at full size, and our reduced records (widths and images as under the figure).",
    )

# %% [markdown]
# ## What the paper found, and these records

# %% tags=["remove-input"]
NAMES = [f"supermask-{number}" for number in range(1, 6)]
evidence = {("supermasks", "fc"): record, ("learned_supermasks", "fc"): learned}
results = [claims.judge(name, evidence, "fc") for name in NAMES]
page.verdicts(
    results,
    caption="What the paper's five claims come down to on FC, in percent or percentage points: each effect must lie "
    "above its threshold, its whole 95 % interval with it.",
)

# %% [markdown]
# The thresholds were fixed before there were results on MNIST. In words, for FC:
#
# - *`large_final` masks on untrained networks do far better than chance, and `large_final_same_sign` better still* (supermask-1):
#   **{glue:text}`verdict_supermask_1`**. The comparison that decides is “{glue:text}`why_supermask_1`”.
# - *Signed constants do better under these masks than the initial values* (supermask-2): **{glue:text}`verdict_supermask_2`**;
#   “{glue:text}`why_supermask_2`”.
# - *Learned masks do far better than criterion masks* (supermask-3): **{glue:text}`verdict_supermask_3`**;
#   “{glue:text}`why_supermask_3`”.
# - *Dynamic weight rescaling improves learned masks* (supermask-4): **{glue:text}`verdict_supermask_4`**;
#   “{glue:text}`why_supermask_4`”. That it helps deeper networks most is a comparison between networks; the scorecard has it.
# - *The best learned masks match the trained network* (supermask-5): **{glue:text}`verdict_supermask_5`**;
#   “{glue:text}`why_supermask_5`”.
#
# The same five on the small convolutional records, where there are any:

# %% tags=["remove-input"]
if conv_learned or conv_criterion:
    by_network = {}
    for name in CONV:
        own = {
            key: other
            for key, other in shelf.items()
            if key[1] == name and key[0] != "learning_rates"
        }
        if own:
            judged = {one: claims.judge(one, own, name) for one in NAMES}
            by_network[figures.NETWORK_NAMES[name]] = {
                one: result.verdict for one, result in judged.items()
            }
    page.table(
        pd.DataFrame(by_network).T,
        caption="The verdicts by the small convolutional records. Undecided: a record is missing, or an interval spans its threshold.",
    )
else:
    print("None yet.")

# %% [markdown]
# A mask that classifies is not a curiosity of this algorithm alone: Ramanujan and others {cite:p}`ramanujan2020hidden` later found such
# subnetworks in large random networks, with another way to learn the scores. What is left of “training” when the weights may not
# move is a choice, weight by weight, of what to leave out; and on MNIST the choice does most of the work.

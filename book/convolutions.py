# ---
# jupyter:
#   dltlib:
#     records:
#     - supermasks-*
#     - learned_supermasks-*
#     - identity_supermasks-*
#     - matched_steps-*
#     - learning_rates-*
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
# (convolutions)=
# # Masks on convolutions, and further

# %% tags=["parameters"]
preset = (
    None  # whose records are shown: paper, cpu or tiny; None: the largest of each that is there
)

# %% tags=["remove-cell"]
import pandas as pd

from dltlib import catalogue, claims, figures, page, records

CONV = ("conv2", "conv4", "conv6")
TITLES = figures.NETWORK_NAMES
VARIANTS = list(figures.LEARNED)  # the four kinds of learned masks, as they are drawn
shelf = {
    (experiment, name): records.read(found)
    for experiment in ("supermasks", "learned_supermasks", "learning_rates", "identity_supermasks")
    for name in ("fc", *CONV)
    if (found := records.largest(experiment, name, preset)) is not None
}
conv_learned = {name: shelf[key] for name in CONV if (key := ("learned_supermasks", name)) in shelf}
conv_criterion = {name: shelf[key] for name in CONV if (key := ("supermasks", name)) in shelf}
tried = {name: shelf[key] for name in CONV if (key := ("learning_rates", name)) in shelf}
NAMES = ("supermask-1", "supermask-2", "supermask-3", "supermask-3b", "supermask-4", "supermask-5")


def search(record):
    """Validation accuracy in percent at the end of a search for a rate: a row for each kind of
    masks, a column for each rate."""
    ends = record.table[record.table["round"] == record.table["round"].max()]
    kinds, rates = ends["arm"].str.split("/").str[2], ends["arm"].str.partition("rate=")[2]
    return 100 * ends.pivot_table(
        index=kinds.rename("kind"),
        columns=rates.astype(float).rename("rate"),
        values="validation_accuracy",
    )


searched = {name: search(other) for name, other in tried.items()}
# Where a learned mask and a trained network are of one width and saw as many images.
alike = [
    name
    for name, other in conv_learned.items()
    if name in conv_criterion and other.scale() == conv_criterion[name].scale()
]


ends_at = {
    (name, arm): claims.after_learning(other, arm)
    for name, other in conv_learned.items()
    for arm in VARIANTS
}


def trained_in(record):
    """Accuracy of the trained networks that masks by criterion were read from."""
    return figures.dense_baseline(record.table[record.table["arm"] == "trained"])


trained = {name: trained_in(other) for name, other in conv_criterion.items()}
judged = {
    name: {
        one: claims.judge(one, {key: known for key, known in shelf.items() if key[1] == name}, name)
        for one in NAMES
    }
    for name in conv_learned or conv_criterion
}

# %% tags=["remove-input"]
(top_network, top_arm) = max(ends_at, key=lambda key: ends_at[key].mean)
of_paper = {
    name: max(share for column, share in catalogue.TABLE_2[name].items() if "learned" in column)
    for name in CONV
}
decided = [
    one
    for results in judged.values()
    for one in results.values()
    if one.verdict != claims.UNDECIDED
]
further = [
    (share, name)
    for name, grid in searched.items()
    if (share := grid.max().max()) > ends_at[top_network, top_arm].mean
]
best_share = ends_at[top_network, top_arm].mean
learned_seeds = conv_learned[top_network].plan["seeds"]
short = of_paper[top_network] - best_share
page.answer(
    question="Do masks make untrained convolutional networks classify, too?",
    answer=(
        "On these networks hardly: "
        if best_share <= claims.THRESHOLDS.far_above_chance
        else "Yes: "
        if short <= 0
        else f"Yes, but {'far ' if short > claims.THRESHOLDS.far_better else ''}less well than in the paper: "
    )
    + "the kind of masks with the highest mean is right "
    f"{claims.bracketed(*ends_at[top_network, top_arm], 1)} % of the time on the test images of CIFAR-10, where chance is 10 %"
    + (
        f" and the same network trained, with the same {learned_seeds} seeds, {100 * trained_in(conv_criterion[top_network].first_seeds(learned_seeds)).mean:.1f} %. "
        if top_network in alike
        else ". "
    )
    + f"The paper's best masks reach {of_paper[top_network]:g} % on {TITLES[top_network]} at full size, {min(of_paper.values()):g} to {max(of_paper.values()):g} % over the three networks.",
    number=f"That is {TITLES[top_network]} ({page.scale(conv_learned[top_network])}). "
    + "".join(
        f"In the search for a rate on {TITLES[name]} ({page.scale(tried[name])}) a mask got further: "
        f"{share:.1f} % of the validation images. "
        for share, name in further
    )
    + (
        "No claim of the paper is decided by these records."
        if not decided
        else f"Of {sum(map(len, judged.values()))} verdicts the records decide {len(decided)}."
    ),
    results=decided,
)

# %% tags=["remove-input", "margin"]
page.basis(*conv_criterion.values(), *conv_learned.values())

# %% [markdown]
# The paper's other three networks classify CIFAR-10. It is the same two ways to a mask as on FC, by criterion ({doc}`supermasks`) and learned ({doc}`learned`).
#
# ## Which rate?
#
# The paper does not give its rates of learning for these networks, as far as we know, so they have to be searched for: a grid of rates,
# masks over $w_i$ plain and rescaled, one seed. The best rate of either kind is that of the highest *validation* accuracy; test accuracy has no say.
# {glue:text}`sm_tried`


# %% tags=["remove-input"]
def rates_of(record):
    """The rate of either kind of masks in a record."""
    plain = record.plan["learning_rate"]
    return {"plain": plain, "rescaled": record.plan.get("rescaled_rate") or plain}


def conditions(record):
    """What a rate may depend on."""
    plan = record.plan
    images = f"{plan['train_images']:,}" if plan["train_images"] else "all"
    return f"width {plan['width']:g}, {images} images, batches of {plan['batch_size']}"


def best_rates(name):
    """Those that a search found."""
    return searched[name].idxmax(axis=1).to_dict()


def where_from(name):
    """Whether a record's rates are those of a search, in words."""
    record = conv_learned[name]
    same = [other for other in searched if best_rates(other) == rates_of(record)]
    if name in same:
        alike = conditions(record) == conditions(tried[name])
        return "the search" + ("" if alike else ", at another scale")
    if name in searched:
        return "not the search's best"
    return f"the search on {TITLES[same[0]]}" if same else "not searched"


def rates_and_scale(record, rates, origin):
    """A row of the table of rates."""
    plan = record.plan
    return {
        "plain masks": f"{rates['plain']:g}",
        "rescaled masks": f"{rates['rescaled']:g}",
        "where from": origin,
        "width": f"{plan['width']:g}",
        "images": f"{plan['train_images']:,}" if plan["train_images"] else "all",
        "batch": plan["batch_size"],
    }


page.glue(
    sm_tried=f"So far it was done on {page.listed(TITLES[name] for name in tried)}."
    if tried
    else "It was not done yet.",
)

# %% tags=["remove-input"]
if tried:
    validation = pd.concat(searched, names=["network"])
    best_of_kind = validation.groupby("kind").max().max(axis=1)
    validation.index = [f"{TITLES[name]}, {kind}" for name, kind in validation.index]
    validation.columns = [f"{rate:g}" for rate in validation.columns]
    example = next(iter(tried.values()))
    at_best = [
        f"{rate:g} for {kind} masks on {TITLES[name]}"
        + (
            ", the largest rate tried, so that a larger one may do better"
            if rate == grid.columns.max()
            else ""
        )
        for name, grid in searched.items()
        for kind, rate in best_rates(name).items()
    ]
    page.table(
        validation,
        caption=f"Validation accuracy in percent by learning rate, masks over w_i after {example.plan['epochs']} epochs, one seed "
        f"({example.scale().split(', ', 1)[-1]}). Remake: {'; '.join(one.manifest['command'] for one in tried.values())}",
        decimals=1,
    )
    leads = {
        (name, kind): -grid.loc[kind].nlargest(2).diff().iloc[-1]
        for name, grid in searched.items()
        for kind in grid.index
    }
    closest_name, closest_kind = min(leads, key=leads.get)
    second = searched[closest_name].loc[closest_kind].nlargest(2).index[-1]
    close_call = (
        f" The closest second is {leads[closest_name, closest_kind]:.2f} points behind ({second:g} for {closest_kind} masks on "
        f"{TITLES[closest_name]}), which one seed does not tell apart."
    )
    helpless = [
        kind for kind, share in best_of_kind.items() if share < claims.THRESHOLDS.far_above_chance
    ]
    page.glue(
        sm_grid=f"The best rates are {'; '.join(at_best)}. "
        + "At no rate that was tried do "
        + page.listed(helpless)
        + f" masks get above {claims.THRESHOLDS.far_above_chance:g} % on the validation images "
        + "(best: "
        + page.listed(f"{kind} {best_of_kind[kind]:.1f} %" for kind in helpless)
        + "), so for "
        "them no working rate was found, and what is shown below for them says nothing about the method."
        if helpless
        else f"The best rates are {'; '.join(at_best)}. At these rates both kinds learn.{close_call}"
    )
else:
    page.glue(sm_grid="")

# %% [markdown]
# {glue:text}`sm_grid` The next table has the best rates of each search, and those at which the records below were made. Masks over signed constants use the same rates, which were
# not searched for them: where they end behind those over $w_i$, the rate may be why.

# %% tags=["remove-input"]
page.table(
    pd.DataFrame(
        {
            f"{TITLES[name]}, searched": rates_and_scale(other, best_rates(name), "the search")
            for name, other in tried.items()
        }
        | {
            f"{TITLES[name]}, below": rates_and_scale(other, rates_of(other), where_from(name))
            for name, other in conv_learned.items()
        }
    ).T,
    caption="Rates of learning: what a search found best, and what the records below use; where that comes from; and the width of the networks, the training images and the batch.",
)

# %% [markdown]
# ## What the masks reach

# %% tags=["remove-input"]
enough = [other.plan["seeds"] >= claims.THRESHOLDS.least_seeds for other in conv_learned.values()]
fewer = [
    f"{number} on {TITLES[name]}"
    for name, other in conv_learned.items()
    if (number := other.plan.get("interim_masks", catalogue.SAMPLED_MASKS))
    < catalogue.SAMPLED_MASKS
]
page.show(
    figures.epoch_curves(
        {other.scale(): other.table for other in conv_learned.values()},
        {conv_learned[name].scale(): trained[name] for name in alike},
    ),
    name="fig-supermasks-conv",
    alt="Test accuracy of learned masks over the epochs of learning on convolutional networks, a panel for each: "
    + "; ".join(other.scale() for other in conv_learned.values())
    + ". Four lines each: masks over initial values and over signed constants, plain and rescaled.",
    caption="Learned masks on convolutional networks, CIFAR-10: mean over "
    f"{catalogue.SAMPLED_MASKS} sampled masks{f' ({page.listed(fewer)}, until the end)' if fewer else ''}, mean over seeds; "
    + (
        "with the 95 % interval."
        if all(enough)
        else "with the 95 % interval where there are three seeds or more, dots where there are fewer."
        if any(enough)
        else "dots are the single seeds."
    )
    + (
        " *Dotted line*: trained weights, where a record of the same width and images has them."
        if alike
        else " No record has trained weights of the same width and images."
    ),
    source=" ".join(other.provenance() for other in conv_learned.values()),
)
stuck_at = {
    place: known
    for place, known in ends_at.items()
    if known.mean <= claims.THRESHOLDS.far_above_chance
}
stuck = [
    f"{TITLES[name]}'s masks over {figures.variant_name(arm).replace('$w_i$', 'the initial values')} ({known.mean:.1f} %)"
    for (name, arm), known in stuck_at.items()
]


def why_stuck():
    """What the search says of those kinds of masks that end near chance, if it found a rate."""
    kinds = {arm.split("/")[2] for _, arm in stuck_at}
    # On the same networks, where they were searched.
    own = {name: grid for name, grid in searched.items() if name in {name for name, _ in stuck_at}}
    found = [
        (name, kind, grid.loc[kind].idxmax(), grid.loc[kind].max())
        for name, grid in (own or searched).items()
        for kind in sorted(kinds & set(grid.index))
        if grid.loc[kind].max() >= claims.THRESHOLDS.far_above_chance
    ]
    if not found:
        return "Why they do, no record here shows."
    differences = {}
    for name, kind, rate, _ in found:
        one = tried[name].plan
        for other, arm in stuck_at:
            if not arm.endswith(f"/{kind}") or (own and other != name):
                continue
            theirs = conv_learned[other].plan
            words = {
                "network": "network", "width": "width", "images": "train_images",
                "batch": "batch_size", "epochs": "epochs",
            }  # fmt: skip
            apart = [word for word, field in words.items() if theirs[field] != one[field]]
            if "/constant/" in arm:  # the search had w_i
                apart.append("values")
            own_rate = rates_of(conv_learned[other])[kind]
            if own_rate != rate:
                apart.append(f"rate ({own_rate:g}")
                grid = searched[name].loc[kind]
                apart[-1] += (
                    f", at which the search reached {grid[own_rate]:.1f} %)"
                    if own_rate in grid.index
                    else ")"
                )
            over = figures.variant_name(arm).replace("$w_i$", "w_i")
            differences[f"{over} on {TITLES[other]} in {page.listed(apart)}"] = None
    told = "; ".join(
        f"{kind} on {TITLES[name]} {share:.1f} % of the validation images after "
        f"{tried[name].plan['epochs']} epochs, at rate {rate:g}"
        for name, kind, rate, share in found
    )
    return (
        f"It is not the method alone: in the search above masks over w_i of such kinds learn ({told}). From these "
        f"the ones that end near chance differ: {'; '.join(differences)}. Which of these differences matters is not told apart."
    )


def still_rising(name):
    """What masks of a network gained between the last two times they were tested, in words."""
    apart, gains = claims.last_gains(conv_learned[name])
    return (
        f"on {TITLES[name]} in their last {apart} epochs by "
        f"{page.signed(gains.min(), 1)} to {page.signed(gains.max(), 1)} points"
    )


best_arm = figures.variant_name(top_arm).replace("$w_i$", "w_i")
page.glue(
    sm_conv_best=f"The best learned mask here, over {best_arm} on {TITLES[top_network]}, is right "
    f"{ends_at[top_network, top_arm].mean:.1f} % of the time.",
    sm_conv_stuck=f"These end at {claims.THRESHOLDS.far_above_chance:g} % or less, where chance is 10 %: {'; '.join(stuck)}."
    if stuck
    else f"None ends at {claims.THRESHOLDS.far_above_chance:g} % or less.",
    sm_conv_why=why_stuck() if stuck else "",
    sm_conv_rising=page.listed(still_rising(name) for name in conv_learned),
)

# %% [markdown]
# {glue:text}`sm_conv_best` {glue:text}`sm_conv_stuck` {glue:text}`sm_conv_why`
#
# Were they learned for long enough? Their mean accuracies changed {glue:text}`sm_conv_rising`. What still rises was not learned to its end, and more epochs would take it further.
#
# ## The paper's table 2, row by row

# %% tags=["remove-input"]
few_seeds = any(
    other.plan["seeds"] < claims.THRESHOLDS.least_seeds
    for records_of in (conv_learned, conv_criterion)
    for other in records_of.values()
)


def so_far(name):
    """What rescaling had changed at up to three of the tests before the last, in words."""
    table = conv_learned[name].table
    scaling = table["arm"].str.split("/").str[2]
    means = 100 * table.groupby([scaling.rename("scaling"), "round"])["test_accuracy"].mean()
    gain = (means["rescaled"] - means["plain"]).drop(0).iloc[:-1]
    some = gain.iloc[:: max(1, len(gain) // 3)].iloc[:3]
    return page.listed(f"{page.signed(points, 1)} after {epoch}" for epoch, points in some.items())


in_words = claims.table_2_in_words(claims.table_2(preset, list(conv_learned)))
page.table(
    in_words.rename(columns=TITLES, level=0),
    caption="Test accuracy in percent: the paper's table 2 at full size, and our records, whose scales the next table gives; the mean with its 95 % interval"
    + (", or both seeds where there are two" if few_seeds else "")
    + ". S.C.: signed constants; DWR: dynamic weight rescaling. Rows of one column may be compared only where width and images agree. "
    + (
        f"{claims.FAILED}: a learned mask that ends at 20 % or less in the mean of its seeds, where chance is 10 %."
        if stuck
        else ""
    ),
)
page.table(
    pd.DataFrame(
        {
            TITLES[name]: {
                "learned masks": page.scale(other),
                "criterion masks, trained weights": page.scale(conv_criterion[name])
                if name in conv_criterion
                else "",
                "one width, as many images": "yes" if name in alike else "no",
            }
            for name, other in conv_learned.items()
        }
    ).T,
    caption="The scales of the records behind our columns.",
)
page.glue(
    sm_comparable="How far masks fall short of their own trained network can be read off where width and images "
    f"agree: {page.listed(TITLES[name] for name in alike)}."
    if alike
    else "How far masks fall short of their own trained network cannot be read off here: nowhere do width and images agree.",
    sm_conv_rescaling="; ".join(
        f"on {TITLES[name]} {claims.in_brackets(part)} points after {conv_learned[name].plan['epochs']} epochs (the paper: {part.paper:+g}; "
        f"here {so_far(name)} on the way)"
        for name, results in judged.items()
        for part in results["supermask-4"].parts
        if part.seeds
    ),
)

# %% [markdown]
# A reduced network is not expected to reach what the whole one does; with trained weights it does not either (last row).
# {glue:text}`sm_comparable` The verdicts, by network:

# %% tags=["remove-input"]
page.table(
    pd.DataFrame(
        {
            TITLES[name]: {one: result.outcome for one, result in results.items()}
            for name, results in judged.items()
        }
    ),
    caption="The claims on supermasks by the convolutional records.",
)

# %% [markdown]
# What each undecided one would take, the {doc}`scorecard <scorecard>` says. What rescaling changes in accuracy, in the mean of masks over $w_i$ and over signed constants:
# {glue:text}`sm_conv_rescaling`.
#
# ## Straight through to what?
#
# The coin toss that draws a mask has no gradient, and where it is bridged is a choice. {doc}`learned` took $S$ for $\sigma(m)$, so the slope of
# $\sigma$ is left in the gradient: at most a quarter, and next to nothing once a weight is nearly always kept or nearly always dropped.
# The other straight-through estimator {cite:p}`bengio2013estimating` bridges the sigmoid too, and the rescaling with it, as if the weight
# in use were $w_i\, m$:
#
# $$\frac{\partial L}{\partial m} \approx \frac{\partial L}{\partial w'} \; w_i.$$
#
# The masks are drawn as before; only the steps of $m$ differ, the sources being called `learned` and `learned_identity`. On digits:

# %%
from dltlib import catalogue, datasets, networks, supermasks, training

digits = datasets.load("digits")
small = networks.build("fc", digits.input_shape)
settings = training.Settings(epochs=40, learning_rate=100, batch_size=250)
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

# %% tags=["remove-input", "nbval-ignore-output"]
variants = [arm.split("/") for arm in VARIANTS]
names = [figures.variant_name(arm).replace("$w_i$", "w_i") for arm in VARIANTS]
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

# %% tags=["hide-input"]
ahead = [
    by_source["learned_identity", *variant] > by_source["learned", *variant]
    for _, *variant in variants
]
print(
    f"{sum(ahead)} of {len(ahead)} kinds of masks are better off when the gradient goes straight through to m."
)

# %% tags=["remove-input"]
identity = shelf["identity_supermasks", "fc"]
# Of its length: there may be longer records of the first estimator.
learned, matched = (
    records.read(records.largest(experiment, "fc", identity.plan["preset"]))
    for experiment in ("learned_supermasks", "matched_steps")
)


def ends(record):
    """Each of its kinds of masks, whatever source and rate, after the last epoch."""
    kinds = {"/".join(["learned", *arm.split("/")[1:3]]): arm for arm in record.plan["arms"]}
    return {kind: claims.after_learning(record, kinds[kind]) for kind in VARIANTS}


def lead(ours, theirs, scaling):
    """How far masks of one record end ahead of another's in points, by seed, in the mean of both
    kinds of values."""

    def end(record):
        last = record.table[record.table["round"] == record.table["round"].max()]
        of = last[last["arm"].str.split("/").str[2] == scaling]
        return 100 * of.groupby("seed")["test_accuracy"].mean()

    return (end(ours) - end(theirs)).dropna()


left = {
    scaling: claims.interval(lead(identity, matched, scaling))
    for scaling in catalogue.MASK_SCALINGS
}
if all(one.low > 0 for one in left.values()):
    why = "a lead is left of both, so the length of the first steps is not all of it"
elif any(one.low > 0 for one in left.values()):
    why = "a lead is left of one, so the length of the first steps is not all of it"
else:
    why = "no lead is left for certain: longer first steps suffice, as far as these seeds tell"


table_2 = catalogue.TABLE_2["fc"]
paper_for = {
    arm: table_2[
        f"learned {'+ DWR' if 'rescaled' in arm else 'mask'}, {'w_i' if 'initial' in arm else 'S.C.'}"
    ]
    for arm in VARIANTS
}


def identity_on(name):
    """How the identity does on a network, where both estimators have records of one scale."""
    ours, theirs = shelf.get(("identity_supermasks", name)), conv_learned.get(name)
    if ours is None or theirs is None or page.scale(ours) != page.scale(theirs):
        return ""
    gap = lead(ours, theirs, "plain")
    told = (
        " and ".join(page.signed(value, 1) for value in gap) + " points, seed by seed"
        if len(gap) < claims.FEWEST
        else f"{claims.bracketed(*claims.interval(gap), 1)} points"
    )
    rates = dict.fromkeys(f"{one.plan['learning_rate']:g}" for one in (theirs, ours))
    return (
        f"On {TITLES[name]} ({page.scale(ours)}, rate {page.listed(rates)}) it does "
        f"{'better' if gap.mean() > 0 else 'worse'} without rescaling: {told}."
    )


page.glue(
    sm_plain_lead=claims.bracketed(*claims.interval(lead(identity, learned, "plain"))),
    sm_rescaled_lead=claims.bracketed(*claims.interval(lead(identity, learned, "rescaled"))),
    sm_plain_left=claims.bracketed(*left["plain"]),
    sm_rescaled_left=claims.bracketed(*left["rescaled"]),
    sm_left=why,
    sm_lead_seeds=len(lead(identity, learned, "plain")),
    sm_end_epochs=f"{identity.plan['epochs']:,}",
    sm_conv_identity=" ".join(filter(None, map(identity_on, CONV))),
)
page.table(
    pd.DataFrame(
        {
            head: [claims.bracketed(*one, 1) for one in ends(record).values()]
            for head, record in (
                (HEADS["learned"], learned),
                (f"{HEADS['learned']}, four or two times the rate", matched),
                (HEADS["learned_identity"], identity),
            )
        }
        | {"paper": [f"{paper_for[arm]:.1f}" for arm in VARIANTS]},
        index=names,
    ),
    caption=f"Test accuracy in percent, {identity.scale()}, after {identity.plan['epochs']:,} epochs of learning (mean and 95 % "
    "interval over seeds), and the paper's, after up to 2,000. Four times the rate without rescaling, twice with it. "
    f"Remake: {'; '.join(one.manifest['command'] for one in (learned, matched, identity))}",
)

# %% [markdown]
# In the records, after {glue:text}`sm_end_epochs` epochs, the identity less the first estimator is {glue:text}`sm_plain_lead` points
# without rescaling and {glue:text}`sm_rescaled_lead` with it (mean of both kinds of values, paired by seed, {glue:text}`sm_lead_seeds:d` seeds). Its first steps are longer at the
# same rate. While every $m$ is 0 the slope of $\sigma$ is a quarter, and the factor of rescaling, which the first estimator keeps and the identity leaves out, about two:
# the identity's steps are four times as long without rescaling, twice as long with it. Is that the reason? At four times the rate, twice with rescaling, the first estimator
# begins with the identity's very steps, with rescaling nearly so (`matched_steps`; the question was written down before its record). Beside that the identity is ahead by
# {glue:text}`sm_plain_left` points without rescaling and by {glue:text}`sm_rescaled_left` with it: {glue:text}`sm_left`.
# Later the steps part again: once a weight leaves one half, the slope at four times the rate is $4\sigma(1-\sigma)$ of the identity's, less than all of it. That too is a matter of
# length, and this record does not match it. {glue:text}`sm_conv_identity`
#
# Everything else in this book is learned with the
# first estimator, and the claims are judged by it.
#
# ## The tickets that learned masks define
#
# A mask over $w_i$ is a lottery ticket: the weights that it keeps, at their initial values. What is such a ticket worth
# when it is trained after all? And as scores rank weights, they can cut a ticket of any size: keep those
# with the largest $m$. So a learned score is one more criterion, and one that never saw a trained weight.
#
# The next cell learns masks over $w_i$ with three seeds, and sets their tickets against two of the same size in
# every layer: large final weights, pruned in one shot, and random ones.

# %%
import torch

from dltlib import networks, pruning, randomness, supermasks, training

# `small`, `digits` and `settings` are those of the cell above.
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
images = digits.train.labels.shape[-1]
mask_steps = settings.epochs * (images // settings.batch_size)
dense_steps = short.epochs * (images // short.batch_size)


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

# %% tags=["remove-input"]
page.glue(
    sm_mask_steps=mask_steps,
    sm_mask_seen=mask_steps * settings.batch_size,
    sm_dense_steps=dense_steps,
    sm_dense_seen=dense_steps * short.batch_size,
)
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
page.show(
    drawing,
    name="fig-supermasks-tickets",
    alt="Test accuracy of trained tickets on digits against the share of weights left, for three ways to choose "
    "them: learned mask scores, large final weights and at random, and the dense network as a line.",
    caption="Tickets that learned masks define, trained: test accuracy at early stopping on digits, against "
    "tickets of the same size in every layer chosen by large final weights (one shot) and at random. Mean and 95 % interval over seeds.",
    source=f"Made by the cell above: FC on digits, {len(seeds)} seeds, {short.epochs} epochs a training.",
)

# %% tags=["remove-input", "nbval-ignore-output"]
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

# %% tags=["hide-input"]
ends = by_size["test_accuracy"]
ahead = ends["learned/initial/rescaled"] - ends["random/rewind/zero"]
behind = ends["large_final/rewind/zero"] - ends["learned/initial/rescaled"]
print(
    f"The learned ticket ends ahead of the random one at {int((ahead > 0).sum())} of {len(ahead)} sizes,"
)
print(
    f"and {'never' if behind.max() < 3 else 'at some size'} more than three points behind large_final."
)

# %% [markdown]
# On digits, then, a learned ticket stays close to `large_final`'s in the mean of three seeds (its interval in {numref}`fig-supermasks-tickets` says how far that goes where few weights are
# left), though no trained weight had a say in it. And like a ticket of large final weights it classifies before the first step of training. It
# is hardly a cheaper way to a ticket: learning the mask took {glue:text}`sm_mask_steps:,` steps here, in which {glue:text}`sm_mask_seen:,` images were shown (many of them many times), training the dense network
# {glue:text}`sm_dense_steps:,` steps and {glue:text}`sm_dense_seen:,` images.
#
# The masks that were learned on MNIST are saved beside the record, packed eight weights a byte. To train the tickets that *they*
# define, read them as {doc}`learned` does, with `records.read_arrays` and `records.unpack_mask`, and pass them to `training.train`.
#
# ## What others found since

# %% tags=["remove-input"]
ours = {}
for name in ("fc", *CONV):
    if ("learned_supermasks", name) in shelf:
        known = shelf["learned_supermasks", name]
        arm = max(VARIANTS, key=lambda arm: claims.after_learning(known, arm).mean)
        ours[name] = (
            f"{claims.after_learning(known, arm).mean:.1f} %, "
            f"{claims.after_learning(known, arm, 'density').mean:.0f} % left"
            + ("" if name == "fc" else f", width {known.plan['width']:g}")
        )
page.table(
    pd.DataFrame(
        {
            TITLES[name]: {
                "Koster et al.": f"{accuracy:.2f} %, {left:g} % left",
                "the paper, best": f"{max(v for k, v in catalogue.TABLE_2[name].items() if 'learned' in k):.1f} %",
                "ours, best": ours.get(name, ""),
            }
            for name, (accuracy, left) in claims.SIGNED_SUPERMASKS.items()
        }
    ).T,
    caption="Learned masks elsewhere: test accuracy and share of weights left. Koster et al. also let a mask turn a weight's sign.",
)

# %% [markdown]
# - Ramanujan and others {cite:p}`ramanujan2020hidden` find subnetworks of large untrained networks that reach the accuracy of trained smaller ones; they learn a score for each weight and keep the highest.
# - Malach and others {cite:p}`malach2020proving` prove that a wide enough random network contains a subnetwork that comes as close as wanted to a given trained one: pruning alone
#   can be enough.
# - Koster and others {cite:p}`koster2022signing` let a mask keep a weight, hide it, or turn its sign, and end with far fewer weights than masks that can only keep or hide.
# - That signs are what a ticket needs is taken further by Gadhikar and Burkholz {cite:p}`gadhikar2024masks`, who study when training can still flip them, and by Oh and others {cite:p}`oh2025winning`,
#   who hand over nothing but a mask with signs.
#
# ## Exercises
#
# **1.** A mask is learned here with all weights of one seed. Learn one on a network half as wide: is a mask on fewer units worth less?

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
# `small`, `digits` and `settings` are those of the cells above.
narrow = networks.build("fc", digits.input_shape, width=0.5)
kind = [("learned", "constant", "rescaled")]
reached = {}
for title, net in (("whole", small), ("half", narrow)):
    one = supermasks.Learner.of_variants(net, kind, seeds=[0])
    for epoch in range(settings.epochs):
        one.learn(digits, settings, epoch)
    reached[title] = one.accuracy(digits.test).item()
print("The wider network ends", "ahead." if reached["whole"] > reached["half"] else "no better.")

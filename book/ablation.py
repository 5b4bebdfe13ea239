# ---
# jupyter:
#   dltlib:
#     records:
#     - criteria-fc-tiny
#     - signs-fc-tiny
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
# (ablation)=
# # Your own ablation
#
# An ablation changes one thing and leaves all else as it was. The paper does this to lottery tickets, part by part: which weights are kept, what those
# start from, what becomes of the others. Here you do it: a {term}`mask criterion`, a {term}`mask-1 action` and a network of your own, ten lines each, written
# in this notebook or in a package of yours, and drawn among the paper's. Nothing in the library is edited.
#
# `make lab` opens this page in JupyterLab. Everything below trains on the 8 × 8 digits and takes seconds; change a cell, run it and those below, and look again.

# %% tags=["parameters"]
seeds = 3  # networks of each arm
rounds = 8  # of pruning
epochs = 8  # passes through the training images in each training

# %% tags=["hide-input"]
import pandas as pd

from dltlib import actions, catalogue, criteria, experiments, figures, page, progress, records, runs

scale = {"seeds": seeds, "rounds": rounds, "epochs": epochs}
page.glue(ablation_seeds=seeds, ablation_rounds=rounds)
print(f"In effect: {seeds} seeds, {rounds} rounds, {epochs} epochs a training.")

# %% [markdown]
# ## A criterion
#
# A criterion is a function from a layer's history to a score for each weight; the highest scores are kept. The history knows the weights as they
# were drawn ($w_i$, `history.initial`) and as training left them ($w_f$, `history.final`), each `[replica, ...]`. The decorator takes the score's formula, for
# tables and legends; the name of the function is that of the criterion, everywhere.
#
# This one keeps what is large in either sense, where the paper's `large_init_large_final` asks for both:


# %%
@criteria.criterion(r"|w_i| + |w_f|")
def large_sum(history):
    """Large before and after training, the one making up for the other."""
    return history.initial.abs() + history.final.abs()


# %% [markdown]
# ## A mask-1 action
#
# A mask-1 action gives what every kept weight starts the next training from. `history.mask` says which these are. The paper's
# `signed_constant` gives them all one magnitude, the standard deviation of the layer's initialisation. But kept weights were large ones: is it
# their common *size* that a ticket needs, besides the signs? This action gives each the mean magnitude of those kept in its layer:


# %%
@actions.mask1_action
def signed_mean(history):
    """The sign of w_i, and the mean magnitude of the layer's kept weights."""
    kept = history.initial.abs() * history.mask
    mean = kept.flatten(1).sum(1) / history.mask.flatten(1).sum(1)
    one_each = (-1, *[1] * (kept.ndim - 1))  # a number for each replica
    return actions.signs(history.initial) * mean.view(one_each)


# %% [markdown]
# ## A network
#
# A network is an entry of the catalogue: its sizes, its data, and how it is trained. Convolutions come first, in `channels`, of which this one has none. (In a
# package, `catalogue.NETWORKS.add` would refuse a name that is taken; an assignment lets you change the cell and run it again.)

# %%
catalogue.NETWORKS["bottleneck"] = catalogue.Architecture(
    "bottleneck",
    title="Bottleneck",
    channels=(),
    hidden=(300, 10, 100),  # all must pass through ten units
    dataset="digits",
    epochs=8,
    learning_rate=1.2e-3,
    learned_rate=100.0,
)

# %% [markdown]
# ## Run them
#
# An {term}`arm` is written criterion/mask-1 action/mask-0 action, and what is left out is standard. The plans below ask for one arm
# with your criterion, one with your action, and three on your network: the standard ticket, your criterion, and chance.

# %%
plans = {
    "criterion": experiments.plan("criteria", "fc", arms=["large_sum"], **scale),
    "action": experiments.plan("signs", "fc", arms=["large_final/signed_mean"], **scale),
    "network": experiments.plan(
        "criteria", "bottleneck", arms=["large_final", "large_sum", "random"], **scale
    ),
}
for name, plan in plans.items():
    print(f"{name:10}{', '.join(plan.arms)} on {plan.network}")

# %% tags=["nbval-ignore-output"]
from IPython.display import clear_output

tables = {}
for name, plan in plans.items():
    with progress.bar(name, plan) as report:
        tables[name] = runs.table(plan, progress=report)
clear_output()  # the bars have done their work

# %%
for name, table in tables.items():
    print(f"{name:10}{len(table)} rows: one for each arm, seed and round")

sparsest = tables["network"][tables["network"]["round"] == rounds]
accuracy = sparsest.groupby("arm")["test_accuracy"].mean()
beaten = bool(accuracy["large_final/rewind/zero"] > accuracy["random/rewind/zero"])
print("On your network too, large_final beats random:", beaten)

# %% [markdown]
# ## On the paper's figure
#
# The criterion among the paper's nine, from the book's record on the same digits. Networks of one seed begin alike, here and in the record, so that the curves can
# be compared. Yours has the colour of the text unless you give it a colour and dashes, as `signed_mean` gets here.

# %% tags=["remove-input"]
figures.STYLES["signed_mean"] = figures.Style(figures.BLACK, figures.DASHED)

nine = records.read("criteria-fc-tiny")
among_nine = pd.concat([nine.table, tables["criterion"]], ignore_index=True)
page.show(
    figures.accuracy_curves(among_nine),
    name="fig-ablation-criterion",
    alt="Test accuracy on digits against the share of weights left, one curve with its interval for "
    "each of the paper's nine criteria, in colours, and for yours, in the colour of the text.",
    caption="Your criterion, in the colour of the text, among the paper's nine: test accuracy on the digits against the share of weights left, mean over seeds and its 95 % interval.",
    source=f"Live, beside the record: {nine.provenance()}",
)

# %% tags=["remove-input"]
seven = records.read("signs-fc-tiny")
among_seven = pd.concat([seven.table, tables["action"]], ignore_index=True)
page.show(
    figures.accuracy_curves(among_seven),
    name="fig-ablation-action",
    alt="Test accuracy on digits against the share of weights left, one curve with its interval for "
    "each of the paper's seven mask-1 actions, in colours, and for yours, dashed, in the colour of the text.",
    caption="Your mask-1 action, in the colour of the text and dashed, among the paper's seven: warm colours draw signs anew, greens keep them.",
    source=f"Live, beside the record: {seven.provenance()}",
)

# %% tags=["remove-input"]
page.show(
    figures.accuracy_curves(tables["network"]),
    name="fig-ablation-network",
    alt="Test accuracy on digits of tickets of your network against the share of weights left, one "
    "curve with its interval for each arm, and a dotted line for the dense network.",
    caption="Tickets of your network by two criteria and by chance. The dotted line is the dense network.",
    source="Live: nothing of it is in a record.",
)

# %% [markdown]
# ## Change one cell
#
# Go back to the cell of `large_sum` and let it return something else, `-history.initial.abs()` for instance; then *Run > Run Selected Cell and All Below*.
# The new function takes the place of the old one. A name that the library uses is refused, so that no criterion of the paper is changed by accident.
#
# What else there is to give: claims (`claims.claim`), data sets (`datasets.register`), mask-0 actions (`actions.Mask0Action`), whole kinds of
# experiment (`kinds.Kind`). `tests/test_additions.py` adds one of each.
#
# ## In a package of your own
#
# What you want to keep, and to run at full scale, belongs into a module. Put the three cells above, with their imports, into `my_tickets.py`; then either `import my_tickets` before you use it,
# or let the package say that it adds to this library, in its `pyproject.toml`:
#
# ```toml
# [project]
# name = "my-tickets"
# version = "1"
# dependencies = ["dltlib"]
#
# [project.entry-points."dltlib.additions"]
# my_tickets = "my_tickets"
#
# [tool.setuptools]
# py-modules = ["my_tickets"]
# ```
#
# Once that is installed where this library is (`../lottery/.venv/bin/pip install -e .`, if that is where its environment lies), every command knows what it adds, on a cluster's workers too:
#
# ```sh
# dltlib run criteria --arms large_final large_sum random --preset cpu
# dltlib run signs --network bottleneck --arms large_final/signed_mean --preset tiny
# ```
#
# `dltlib run` ends by saying where its record lies, and `dltlib status` lists it; with its name in place of this one,
#
# ```python
# from dltlib import figures, storage
#
# mine = storage.find_record("signs-fc-tiny-0123456789ab")
# figures.accuracy_curves(mine.table).savefig("mine.png")
# ```
#
# draws it as above.

# ---
# jupyter:
#   dltlib:
#     records: []
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
# (algorithm)=
# # The algorithm, and the words
#
# A trained network can do without most of its weights: delete the smallest, and it still answers about as
# well. So why not train the small network in the first place? Because a network that small, started
# afresh, learns worse than the large one that it was cut from. Frankle and Carbin {cite:p}`frankle2019lottery`, who begin with these two
# observations, found what was missing: give the surviving weights back *the values they started from*. Trained again from there, the
# small network often does as well as the large one, or better. They called it a winning
# {term}`ticket`, as if the large network had bought very many, and the initial values of a few connections had won.
#
# This chapter makes such a ticket step by step, on images so small that each step takes seconds, and names
# things as they turn up. It asks no more of you than to know what a layer, a gradient step and a test set are; what is
# named here is used in the same sense in all that follows, and the {doc}`glossary` has it in short.
#
# Everything below is live: `make lab` opens this page in JupyterLab, and each cell can be changed and run again. Three numbers set the scale: {glue:text}`algorithm_seeds:d` seeds,
# {glue:text}`algorithm_rounds:d` rounds of pruning, {glue:text}`algorithm_epochs:d` epochs (passes through the training images) a training. To try the cells
# elsewhere, begin with the line below; then each cell needs only those before it.

# %% tags=["parameters"]
seed_count = 3  # networks trained side by side, each with a seed of its own
rounds = 12  # of pruning
epochs = 8  # passes through the training images in each training

# %% tags=["remove-cell"]
from dltlib import page

page.glue(algorithm_seeds=seed_count, algorithm_rounds=rounds, algorithm_epochs=epochs)

# %% tags=["remove-input"]
print(f"seed_count, rounds, epochs = {seed_count}, {rounds}, {epochs}")

# %% [markdown]
# ## Step 0: train a dense network
#
# The images are the 8 × 8 digits that come with scikit-learn, in three parts: the *training* images, which
# the network learns from; the *validation* images, for choices along the way; and the
# *test* images, for nothing but the accuracy that is reported.

# %%
import torch

from dltlib import datasets, figures, networks, page, pruning, runs, training

digits = datasets.load("digits")
network = networks.build("fc", digits.input_shape)

parts = digits.train, digits.validation, digits.test
print("training, validation, test images:", [len(part) for part in parts])
for layer in network.layers:
    units = "{:3} x {:3}".format(*layer.shape)
    print(f"{layer.name:8}{units}{layer.weight_count:8,} weights")

# %% [markdown]
# Three fully connected layers, with ReLU between them. A *weight* is one number on one connection; each unit has a bias
# too, but biases are trained as always and never pruned, so that here "weights" never includes them.
#
# The weights are drawn from a normal distribution that suits the layer's size {cite:p}`glorot2010understanding`. Call such a drawn
# value $w_i$, the **initial** weight. Training moves it to $w_f$, the **final** weight. With everything still in place the
# network is called {term}`dense`.
#
# One run says little, so that everything is done three times, with three {term}`seeds <seed>`. The library trains
# them side by side: every array has one more axis in front, and each entry along it is a {term}`replica`, a network of its own.

# %%
seeds = list(range(seed_count))
settings = training.Settings(epochs, learning_rate=1.2e-3, evaluate_every=20)

initial = networks.initial_weights(network, seeds)
everything = [torch.ones_like(w_i, dtype=torch.bool) for w_i in initial]
dense = training.train(network, digits, initial, everything, seeds, settings)

print("first layer, [replica, in, out]:", list(initial[0].shape))
right = int((dense.early_test > 0.9).sum())
print(f"{right} of {len(seeds)} networks are right more than nine times in ten")

# %% [markdown]
# ## Step 1: a mask criterion says which weights stay
#
# A {term}`mask` marks each weight as kept (1) or pruned (0). It comes from a score: the {term}`mask criterion` $M(w_i, w_f)$ maps where
# a weight started and where it ended to a number, and the best-scoring share of *each layer* is kept. The share is the layer's
# {term}`keep rate`: 80 % in these layers, 90 % in the output layer, which is pruned half as fast.
#
# The criterion of Frankle and Carbin keeps what ended large: $M = |w_f|$, here called `large_final`.

# %%
keep_rate = {"dense": 0.8, "output": 0.9}


def large_final_masks(final, alive, round_):
    """Keep the largest |w_f| of each layer, among the weights still alive."""
    masks = []
    for layer, w_f, living in zip(network.layers, final, alive):
        keep_fraction = keep_rate[layer.role] ** round_
        count = pruning.kept_count(layer.weight_count, keep_fraction)
        masks.append(pruning.prune(w_f.abs(), living, count))
    return masks


masks = large_final_masks(dense.weights, everything, round_=1)

for layer, mask in zip(network.layers, masks):
    kept = int(mask[0].sum())
    print(f"{layer.name:8}{kept:7,} of {layer.weight_count:7,} kept")

# %% tags=["remove-input"]
w_i, w_f = initial[0][0].flatten(), dense.weights[0][0].flatten()
shown = torch.randperm(len(w_i), generator=torch.Generator().manual_seed(0))
page.show(
    figures.region_series(w_i[shown].numpy(), w_f[shown].numpy(), "large_final", (0.8, 0.41, 0.17)),
    name="fig-algorithm-plane",
    alt="Three scatter plots of a layer's weights, final against initial value. The cloud lies along "
    "the diagonal. Shaded regions above and below a horizontal band around zero hold the kept "
    "weights; the band grows from left to right as less is kept.",
    caption="A thousand weights of the first layer, each a dot: how it was drawn against how training left it. "
    "Where a dot lies on the rising diagonal, training did not move the weight; in the upper left and lower right quarters "
    "it changed its sign. `large_final` prunes a band around $w_f = 0$ (grey dots), which is the wider the less is kept.",
    source="Live: digits, seed 0, the dense network trained above.",
)

# %% [markdown]
# {numref}`fig-algorithm-plane` is the picture to remember: a criterion is a region of this plane. The next chapter,
# {doc}`criteria`, draws nine of them.
#
# ## Steps 2 and 3: what kept and pruned weights become
#
# The **mask-1 action** says what kept weights start from in the next training. Here they go back to their initial values:
# they are {term}`rewound <rewinding>`. The **mask-0 action** says what becomes of pruned weights. Here they are set to zero and {term}`frozen <freezing>`:
# no later training moves them.


# %%
def rewind_and_zero(masks):
    return [torch.where(mask, w_i, 0.0) for mask, w_i in zip(masks, initial)]


# %% [markdown]
# Of the trained values nothing is left: training has served to choose the mask, and only the mask is handed on.
#
# ## Step 4: train again, and repeat
#
# Then the network is trained again, from these values; of the weights, only those under the mask are updated. Steps 1 to 4 are one {term}`round`. Pruning a
# fifth at a time, with a training in between, is *iterative* pruning; pruning to the same size at once would be *one-shot* pruning.
# Pruned weights stay pruned, so that the masks of later rounds lie within those of earlier ones.

# %%
masks, outcome, stages = everything, dense, {}
for round_ in range(1, rounds + 1):
    masks = large_final_masks(outcome.weights, masks, round_)
    start = rewind_and_zero(masks)
    outcome = training.train(network, digits, start, masks, seeds, settings)
    stages[round_] = masks

left = sum(int(mask[0].sum()) for mask in masks)
print(f"after {rounds} rounds {100 * left / network.weight_count:.1f} % of the weights are left")
right = int((outcome.early_test > 0.9).sum())
print(f"{right} of {len(seeds)} tickets are right more than nine times in ten")

# %% [markdown]
# The share of all weights that are left is the {term}`density`. It falls geometrically: after $k$ rounds a layer with keep rate $r$ has
# $r^k$ of its weights.


# %% tags=["remove-input"]
def as_pictures(layer, mask=None, units=6):
    """The weights into a few hidden units of the first replica, as 8x8 pictures."""
    values = layer[0] if mask is None else layer[0].masked_fill(~mask[0], float("nan"))
    return values[:, :units].T.reshape(units, 8, 8).numpy()


middle = max(1, rounds // 2)
page.show(
    figures.unit_pictures(
        {
            "initial": as_pictures(initial[0]),
            "final, dense": as_pictures(dense.weights[0]),
            "start of\nround 1": as_pictures(initial[0], stages[1][0]),
            f"start of\nround {middle}": as_pictures(initial[0], stages[middle][0]),
            f"start of\nround {rounds}": as_pictures(initial[0], stages[rounds][0]),
            f"final,\nround {rounds}": as_pictures(outcome.weights[0], masks[0]),
        },
        reach=0.2,
    ),
    name="fig-algorithm-weights",
    alt="A grid of small pictures: six rows, the stages, and six columns, hidden units; each picture "
    "shows 64 weights in blue, white and red. Row by row more weights are grey, that is pruned; the "
    "coloured ones keep their initial values until the last row, where they are trained again.",
    caption="The weights into six hidden units of the first layer, arranged like the pixels they look at. From the dense network's initial and "
    "final values to the ticket: in each round, the weights that are left start from their initial values, those pruned stay at zero (grey).",
    source="Live: digits, seed 0.",
)

# %% [markdown]
# ## Did the choice matter?
#
# To say that `large_final` chooses *well* takes something to compare it with. The natural rival keeps as many weights in each layer,
# but at random. All else is the same, down to the initial values and the order of the images, which the seed decides.
#
# An {term}`arm` is one way of doing it, written criterion / mask-1 action / mask-0 action: what we just made by hand is the arm
# `large_final/rewind/zero`. The library knows whole experiments, so that one call runs both arms, all seeds and all
# rounds. Since all that looks random is drawn from the seed and nothing else, it gives what our loop gave, to the last digit.

# %%
from dltlib import experiments

change = {"seeds": seed_count, "rounds": rounds, "epochs": epochs}
arms = ["large_final", "random"]
plan = experiments.plan("criteria", "fc", "tiny", arms=arms, **change)
table = runs.table(plan)  # one row for each arm, seed and round

ours = table[(table["arm"] == "large_final/rewind/zero") & (table["round"] == rounds)]
same = ours["test_accuracy"].tolist() == outcome.early_test.tolist()
print("The test accuracies are", "those" if same else "not those", "of the loop by hand.")

# %% tags=["remove-input"]
page.show(
    figures.accuracy_curves(table),
    name="fig-algorithm-accuracy",
    alt="Test accuracy against the share of weights left, from 100 % on the left to a few percent on "
    "the right. The large_final line stays near the dotted line of the dense network; the random "
    "line falls away below it, by more the fewer weights are left.",
    caption="Test accuracy of tickets chosen by `large_final` and at random, against the share of weights left, "
    "on a log axis that runs from dense to sparse. Lines are means over the seeds, bands their 95 % intervals; dotted, the "
    "{term}`dense` network, which is round 0 of both.",
    source="Live: digits, the plan above.",
)

# %% [markdown]
# {numref}`fig-algorithm-accuracy` has the form of most figures in this book. A line is an arm; what
# distinguishes arms is the question of the chapter.
#
# ## What is measured, and how sure it is
#
# **At which moment.** While a network trains, its accuracy on the validation images is looked at again and again, here every 20 iterations
# (an *iteration* is one gradient step). The iteration with the best one is where one would have stopped: the {term}`early-stopping iteration`.
# Unless something else is said, "test accuracy" is the accuracy on the test images there. The accuracy after the last iteration is recorded as well.

# %% tags=["remove-input"]
generator = torch.Generator().manual_seed(0)
random_masks = [
    pruning.prune(torch.rand(mask.shape, generator=generator), all_, int(mask[0].sum()))
    for mask, all_ in zip(masks, everything)
]
random_start = rewind_and_zero(random_masks)
by_chance = training.train(network, digits, random_start, random_masks, seeds, settings)
page.show(
    figures.history_curves(
        dense.iterations.numpy(),
        {
            "dense network": dense.history.numpy(),
            "large_final ticket": outcome.history.numpy(),
            "random ticket": by_chance.history.numpy(),
        },
        {
            "dense network": "trained",
            "large_final ticket": "large_final",
            "random ticket": "random",
        },
    ),
    name="fig-algorithm-history",
    alt="Validation accuracy against the iteration of training for the dense network, the large_final "
    "ticket and a random ticket of the same size. All rise and flatten; dots mark the best iteration "
    "of each seed.",
    caption="Validation accuracy while the dense network, the last round's `large_final` ticket and a random one of its size train. Lines "
    "are means over the seeds; a dot marks each seed's early-stopping iteration.",
    source="Live: digits.",
)

# %% [markdown]
# **How sure.** Each number is a mean over seeds, with the 95 % {term}`interval` of that mean (Student's): if seeds scatter as these do,
# the mean of very many would lie in it nineteen times out of twenty. With three seeds it is wide. Arms are compared *seed by seed*: two arms of one seed share initial weights and data order, so that whatever these do to both cancels in
# their difference. That may narrow the interval or not: {doc}`signs` measures what it gains. The book's statements rest on such paired differences.

# %%
last = table[table["round"] == rounds]
accuracy = last.pivot(index="seed", columns="arm", values="test_accuracy")
ahead = accuracy["large_final/rewind/zero"] > accuracy["random/rewind/zero"]
print(f"large_final is ahead of random with {int(ahead.sum())} of {len(ahead)} seeds.")

# %% [markdown]
# **What it comes to.** For each of the paper's claims such a difference, its interval and a threshold that was fixed beforehand give a
# {term}`verdict`: reproduced, not reproduced, or undecided. The {doc}`scorecard <scorecard>` has them all.
#
# ## What each chapter changes
#
# The recipe has three places where it could be otherwise, and Zhou, Lan, Liu and Yosinski {cite:p}`zhou2019deconstructing` turned each
# of them:
#
# | chapter | what it changes | what it leaves as above |
# |---|---|---|
# | {doc}`criteria` | the score: nine ways to choose | rewind, zero |
# | {doc}`signs` | mask-1: what kept weights start from | `large_final`, zero |
# | {doc}`zeros` | mask-0: what becomes of pruned ones | `large_final`, rewind |
# | {doc}`supermasks` | no training but that which the mask is read from | mask over $w_i$ (or constants of its signs) |
# | {doc}`learned` | the mask is learned, no weight ever trained | the same |
# | {doc}`convolutions` | other networks, and other ways to learn a mask | the same |
#
# ## The networks, and the scale of the runs
#
# The paper trained four networks, FC on MNIST {cite:p}`lecun1998gradient` and three convolutional ones on CIFAR-10 {cite:p}`krizhevsky2009learning`, all with Adam
# {cite:p}`kingma2015adam`.

# %% tags=["remove-input"]
import pandas as pd

SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
rows = {}
for name, title in (("fc", "FC"), ("conv2", "Conv2"), ("conv4", "Conv4"), ("conv6", "Conv6")):
    paper = experiments.plan("criteria", name, "paper")
    built = networks.build(name, SHAPES[paper.dataset])
    left = sum(
        pruning.kept_count(layer.weight_count, paper.keep_rate(layer.role) ** paper.rounds)
        for layer in built.layers
    )
    rates = ([paper.keep_conv] if built.channels else []) + [paper.keep_dense, paper.keep_output]
    rows[title] = {
        "convolutions": ", ".join(map(str, built.channels)) or "none",
        "dense layers": ", ".join(map(str, (*built.hidden, built.classes))),
        "weights": f"{built.weight_count:,}",
        "kept a round (%)": " / ".join(f"{100 * rate:.0f}" for rate in rates),
        f"left after {paper.rounds} (%)": f"{100 * left / built.weight_count:.2f}",
        "epochs": paper.epochs,
        "learning rate": f"{paper.learning_rate:g}",
    }
page.table(
    pd.DataFrame(rows),
    caption="The networks as the paper trains them: channels of the 3 x 3 convolutions (a 2 x 2 max pool after each pair), "
    "units of the dense layers, and the share kept each round in convolutions, dense layers and the output layer. Batches of "
    "60 images, five seeds, 24 rounds.",
)

# %% [markdown]
# Their experiments are thousands of trainings. The book runs them at three scales, its {term}`presets <preset>`, and every figure
# says which one it shows: `tiny` is what you saw here, and takes under a minute; `cpu` has the paper's data sets and is
# reduced so that two processor cores finish it, FC in minutes, convolutions in one hour to four (with fewer of their images for tickets; `--dry-run` tells beforehand how long, the record what is reduced); `paper` is the table above. A preset is where a run starts from: options may change it, most often to fewer seeds, and figures say the seeds. What a run leaves behind is a
# {term}`record`: a table like the one we made here, and a note of how, when and on what it was made.
#
# ```console
# $ dltlib run criteria --network fc --preset tiny
# $ dltlib run criteria --arms large_final random --seeds 2 --rounds 3 --epochs 1
# $ dltlib status
# ```
#
# ## Your turn
#
# Four changes to the cells above, each worth its surprise. Try them before you unfold what comes out.
#
# **1. One shot instead of many.** Call `large_final_masks(dense.weights, everything, rounds)` once, and train.


# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
def trained_from(masks, start):
    """Mean test accuracy of a ticket, %."""
    ticket = training.train(network, digits, start, masks, seeds, settings)
    return 100 * ticket.early_test.mean().item()


by_rounds = 100 * outcome.early_test.mean().item()
at_once = large_final_masks(dense.weights, everything, rounds)
one_shot = trained_from(at_once, rewind_and_zero(at_once))
print(
    f"One shot comes {'within' if by_rounds - one_shot < 2 else 'no closer than'} two points of {rounds} rounds."
)

# %% [markdown]
# **2. Do the values matter?** In `rewind_and_zero`, take other values than `initial`: `networks.initial_weights(network, [7, 8, 9])`. ({doc}`signs`)

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
others = networks.initial_weights(network, [seed + 7 for seed in seeds])
drawn_anew = trained_from(masks, [torch.where(mask, w, 0.0) for mask, w in zip(masks, others)])
print(
    "With values drawn anew the last ticket does",
    "worse." if drawn_anew < by_rounds else "no worse.",
)

# %% [markdown]
# **3. Do the zeros matter?** Replace `0.0` there by `w_i` itself, so that pruned weights stay
# where they were drawn. ({doc}`zeros`)

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
frozen = trained_from(masks, initial)
print(
    "Frozen where they were drawn, pruned weights cost",
    "less" if frozen > by_rounds - 1 else "more",
    "than a point.",
)

# %% [markdown]
# **4. And without training?** What does the last ticket answer before it has learnt anything? ({doc}`supermasks`)

# %% tags=["hide-cell"] mystnb={"code_prompt_show": "Show the solution", "code_prompt_hide": "Hide the solution"}
biases = networks.initial_biases(network, len(seeds))
untrained = training.evaluate(
    network, rewind_and_zero(masks), biases, digits.test.images, digits.test.labels
)
better = int((untrained > 0.2).sum())
print(f"{better} of {len(seeds)} untrained tickets are right more than twice as often as chance.")

# ---
# jupyter:
#   dltlib:
#     records:
#     - bench
#     - criteria-fc-*
#     - signs-fc-*
#     - zeros-fc-*
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
# (speed)=
# # How fast, and why
#
# The experiments of this book are thousands of trainings of small networks. Nobody waits for them
# gladly, so it matters what one of them costs. This chapter measures that against the loop that anyone
# would write: one `nn.Module`, the images in memory as floating-point numbers, `torch.optim.Adam`, pruned weights kept at zero by masking
# their gradients. Both sides train the same networks on the same batches (a test holds them to it); evaluation is
# counted on neither.
#
# `dltlib bench` makes the record below. Its measurements take turns, over and over, so that whatever else the
# machine does meets all of them. A ratio with a range is taken within each turn: its median, and the
# range from the 10th to the 90th percentile. A ratio without one is between medians.

# %% tags=["hide-input"]
import pandas as pd

from dltlib import bench, experiments, figures, page, records

record = bench.read()
facts = record.facts
ratios = bench.ratios(record).set_index("round")
against_fused = bench.ratios(record, against="plain, fused").set_index("round")
shares = bench.shares_of_peak(record, "fc").set_index(["way", "round"])
peaks = bench.peaks(record)
again = "There is no earlier run to compare with."
if facts["before"]:
    before, now = facts["before"]["ratios"], bench.all_ratios(record)
    changes = {name: 100 * (now[name] / before[name] - 1) for name in now if name in before}
    groups = {
        "on FC": "fc,",
        "on convolutions at a quarter of the width": "width 0.25,",
        "at full width": "width 1,",
    }
    told = []
    for words, part in groups.items():
        own = [change for name, change in changes.items() if part in name]
        if own:
            told.append(f"{words} by {min(own):+.0f} to {max(own):+.0f} %".replace("-", "−"))
    then = facts["before"]["peaks"]
    again = (
        f"An earlier run of the whole benchmark ({facts['before']['finished'][:10]}), on a machine of the same name, measured {len(changes)} of "
        f"the ratios of this chapter, too. They have changed since, {page.listed(told)}. Matrix products ran at {then['operations'] / 1e9:.0f} "
        f"billion operations a second then and {peaks['operations'] / 1e9:.0f} now, memory at {then['bytes'] / 1e9:.0f} GB a second and {peaks['bytes'] / 1e9:.0f}. "
        "Where the code is the same, a ratio belongs to a machine, and to its hour"
        + (
            "; at full width convolutions have got the way back by errors in between (see below)."
            if "commit" not in facts["before"]  # which later runs keep
            else f"; the earlier run is of commit {facts['before']['commit'][:10]}."
        )
    )


def spread(number):
    """The range of a round's ratio from the 10th to the 90th percentile."""
    return "{low:.1f} to {high:.1f}".format(**ratios.loc[number])


paper_epochs = experiments.plan("criteria", "fc", "paper").epochs
real = [
    records.read(records.largest(experiment, "fc")) for experiment in ("criteria", "signs", "zeros")
]
plain = shares.loc["plain", "median"]
page.glue(
    threads=facts["threads"],
    busy=facts["busy_with_others"],
    dense=ratios.loc[0, "median"],
    fifth=ratios.loc[7, "median"],
    twentyfifth=ratios.loc[15, "median"],
    hundredth=ratios.loc[21, "median"],
    dense_spread=spread(0),
    fifth_spread=spread(7),
    twentyfifth_spread=spread(15),
    hundredth_spread=spread(21),
    whole=bench.arm_ratio(record),
    plain_dense=plain[0],
    plain_low=plain.drop(0).min(),
    plain_high=plain.drop(0).max(),
    gigaflops=peaks["operations"] / 1e9,
    gigabytes=peaks["bytes"] / 1e9,
    hours=bench.programme_hours(record),
    arms=len(facts["slice"]["arms"]),
    speed_again=again,
    speed_seeds=bench.SEEDS,
    speed_epochs=bench.EPOCHS,
    speed_paper_epochs=paper_epochs,
    speed_paper_hours=bench.programme_hours(record, epochs=paper_epochs),
    speed_real_hours=sum(one.manifest["seconds"] for one in real) / 3600,
    speed_real=page.scale(real[0]),
    speed_real_projected=bench.programme_hours(
        record, real[0].plan["seeds"], real[0].plan["epochs"]
    ),
)
print("made on:", facts["device"])

# %% [markdown]
# ## What a replica's iteration costs
#
# {numref}`fig-speed-density` and the table show FC on MNIST in batches of 60, with {glue:text}`threads:d` threads.
# At full {term}`density` the library is {glue:text}`dense:.1f` times as fast as the plain loop ({glue:text}`dense_spread`); with a
# fifth of the weights left {glue:text}`fifth:.1f` times ({glue:text}`fifth_spread`), at 4 % {glue:text}`twentyfifth:.0f` times ({glue:text}`twentyfifth_spread`) and
# at 1 % {glue:text}`hundredth:.0f` times ({glue:text}`hundredth_spread`). Over all 24 rounds of an arm that is {glue:text}`whole:.1f` times.
# In brackets stands the range from the 10th to the 90th percentile within this run; from run to run a ratio may change by more. {glue:text}`speed_again`
#
# The plain loop multiplies by zeros, so that pruning does not make it any cheaper. It takes {glue:text}`plain_dense:.2f` ms for the dense network, where it
# has no gradients to mask, and between {glue:text}`plain_low:.2f` and {glue:text}`plain_high:.2f` ms in later rounds. With its updates done by one
# fused operation (`fused=True`, which is not what PyTorch does unless asked), Adam costs it less; the table has that ratio, too.

# %% tags=["remove-input"]
by_way = bench.times(record, "fc").pivot_table("median", "round", "way")
saved = 100 * (1 - by_way["plain, fused"] / by_way["plain"])
page.show(
    figures.cost_curves(bench.times(record, "fc")),
    name="fig-speed-density",
    alt="Milliseconds per replica and iteration against weights left, both on log axes. The plain "
    f"loop's line is level, with fused Adam {saved.min():.0f} to {saved.max():.0f} % lower; this library's begins below both and falls "
    "as weights are pruned, to a small fraction at one per cent.",
    caption="Cost of training FC: time per replica and iteration against density. Bands reach from the "
    "10th to the 90th percentile over the turns.",
    source=record.provenance(),
)

# %% tags=["remove-input"]
asked = list(bench.ROUNDS)
page.table(
    pd.DataFrame(
        {
            "weights left": [figures.percent(ratios.loc[r, "density"]) for r in asked],
            "this library, ms": [f"{shares.loc[('engine', r), 'median']:.3f}" for r in asked],
            "plain loop, ms": [f"{shares.loc[('plain', r), 'median']:.2f}" for r in asked],
            "times faster (10–90 %)": [
                "{median:.1f} ({low:.1f}–{high:.1f})".format(**ratios.loc[r]) for r in asked
            ],
            "than with fused Adam": [f"{against_fused.loc[r, 'median']:.1f}" for r in asked],
            "of the matrix peak": [
                f"{100 * shares.loc[('engine', r), 'matrix_share']:.0f} %" for r in asked
            ],
            "of the memory peak": [
                f"{100 * shares.loc[('engine', r), 'memory_share']:.0f} %" for r in asked
            ],
        }
    ),
    caption="FC on MNIST, per replica and iteration. The last two columns: arithmetic that the surviving "
    "weights need, and memory that Adam must read and write, as shares of what the machine can do.",
    index=False,
)

# %% [markdown]
# The machine's peaks are measured in the same run: {glue:text}`gigaflops:.0f` billion operations a second in a product of
# large matrices, {glue:text}`gigabytes:.0f` GB a second in moving large arrays. A dense network needs both at once: its
# weights and Adam's two moments do not fit the cache next to each core and must come by for every batch of 60. Sparse
# ones stay in the cache, and what limits them is the number of instructions: one weight is one load and
# eight fused multiply-adds, which serve 64 images, and each of these must load its inputs, too. At the sparse end the images themselves are what is left to pay for.
#
# ## Why: the batch is the vector
#
# A matrix product does not know which weights are zero, and a general sparse product pays for knowing: it jumps
# from weight to weight and loads one number for each. The step of this library (`dltlib/kernel/`, compiled by
# numba) turns the matter round:
#
# - **Images lie side by side.** Activity is stored unit by unit, 64 images of the batch next to each
#   other. One weight then multiplies a whole row of numbers that lie in order, wherever in the layer the weight
#   sits. The processor's vector registers are full at any density.
# - **Surviving weights are lists.** Each unit has the list of its surviving inputs; pruned weights appear in none, forward,
#   backward or in the optimiser. Those frozen at a value other than zero are in a second list, which has no gradients.
# - **Units of a whole layer share their inputs.** Where no weight of a layer is missing, all its units read the same inputs. Six of
#   them are then done together, a quarter of the images at a time, so that an input in a register serves six multiply-adds. Each sum
#   is added up in the same order as before, so that not a bit of it changes.
# - **A weight is finished while it is at hand.** Gradients of some hundred weights are collected and at once given to
#   Adam, so that weights and moments pass through the cache once in an iteration, not four times.
# - **Black pixels are passed over.** Pixels are ordered by how often they are lit; those that are dark in all images of a
#   batch lie at the end of the lists, where there is nothing to do.
# - **Arms of a seed share their batches.** They see the same images in the same order, so these are gathered and
#   turned once for all of them.
# - **One replica, one thread.** Threads that share a matrix product wait for one another thousands of times a second; threads with
#   a network each do not. It also makes a replica's bits independent of its neighbours.
#
# Which step is taken is a fixed rule: on a CPU the kernel, on a GPU stock PyTorch; in the kernel, a layer is whole or it is not. No timing at run
# time decides, so records cannot depend on a machine's mood.

# %% tags=["remove-input"]
alone = bench.ratios(record, way="engine", against="engine, no seed shared").set_index("round")
memory = facts["memory"]
replica_times = bench.times(record, "replicas")
few = replica_times[replica_times["round"] == 0].set_index("replicas")["median"]
width_times = bench.times(record, "width").set_index(["way", "round", "width"])["median"]
(learned,) = bench.times_of_arithmetic(record).itertuples()
page.glue(
    learned=learned.median,
    learned_low=learned.low,
    learned_high=learned.high,
    learned_batch=experiments.plan("learned_supermasks", "fc", "paper").batch_size,
    sharing_dense=100 * max(0.0, alone.loc[0, "median"] - 1),
    sharing_sparse=100 * (alone.loc[21, "median"] - 1),
    memory_dense=memory["replica, round 0"],
    memory_sparse=memory["replica, round 15"],
    data_engine=memory["data, engine"],
    data_plain=memory["data, plain"],
    one_replica=few.loc[1] / few.loc[few.index.max()],
    most_replicas=int(few.index.max()),
    wide_engine=width_times["engine", 10, 2.0] / width_times["engine", 10, 0.25],
    wide_plain=width_times["plain", 10, 2.0] / width_times["plain", 10, 0.25],
)
figure = figures.growth_panels(replica_times, bench.times(record, "width"))
page.show(
    figure,
    name="fig-speed-growth",
    alt="Two panels of milliseconds per replica and iteration on log axes. Above, by replicas at once: "
    "lines fall from one replica to two and then stay level. Below, by width of the hidden layers: all "
    "lines rise.",
    caption="How cost grows. *Above*: with the number of replicas trained at once, nine arms to a seed. *Below*: "
    "with the width of the hidden layers, relative to FC's 300 and 100 units.",
    source=record.provenance(),
)

# %% [markdown]
# {numref}`fig-speed-growth` shows the last two points at work. One replica alone leaves all threads but one idle and costs
# {glue:text}`one_replica:.1f` times what each of {glue:text}`most_replicas:d` does; beyond the number of threads little changes. If the arms of a seed did not share its batches, each would
# cost {glue:text}`sharing_dense:.0f` % more at full density and {glue:text}`sharing_sparse:.0f` % more at 1 %. Making the
# hidden layers eight times as wide makes a ticket with 11 % of its weights {glue:text}`wide_engine:.1f` times as dear, and
# the plain loop's {glue:text}`wide_plain:.1f` times.
#
# **Memory.** A replica adds {glue:text}`memory_dense:.1f` MB while it trains densely, and {glue:text}`memory_sparse:.1f` MB with 4 % of its weights (the dense
# tensors that it began from among them). The training images take {glue:text}`data_engine:.0f` MB as bytes, where the plain loop's floating-point numbers take
# {glue:text}`data_plain:.0f`. Before a plan starts, the memory that is free decides how many of its replicas are trained side by side: all, a half, a quarter,
# and so on, which changes no number of the records; a plan of which not even one replica fits says so at once.
#
# **Learned masks** are another matter: their weights are all there, and what costs is dense products, for which the library takes stock
# PyTorch. What is left to save is all the rest: drawing masks, rescaling, momentum. One update of a mask of FC, in batches of
# {glue:text}`learned_batch:d`, takes {glue:text}`learned:.2f` times ({glue:text}`learned_low:.2f` to {glue:text}`learned_high:.2f`) as long as its operations would in one square product
# of matrices in each thread, which is as fast as this machine multiplies.
#
# ## A night's work
#
# All of the criteria, signs and zeros, {glue:text}`arms:d` arms in all, with {glue:text}`speed_seeds:d` seeds, 24 rounds and
# {glue:text}`speed_epochs:d` epochs a round: projected {glue:text}`hours:.1f` hours on this machine's {glue:text}`threads:d` cores. The projection comes from a slice that was run as
# every experiment is: one seed, one epoch, but all arms and all rounds, looks at the validation images every 100
# iterations, masks, tests and checkpoints included. What is done for every epoch is multiplied by epochs and seeds, what is done once a
# training by seeds: {glue:text}`speed_paper_hours:.1f` hours with the paper's {glue:text}`speed_paper_epochs` epochs. The book's own records of these experiments on FC ({glue:text}`speed_real`)
# took {glue:text}`speed_real_hours:.1f` hours, where the slice projects {glue:text}`speed_real_projected:.1f`: they were made at low priority, beside other work. Arms that freeze weights at other values than zero cost more than the rest, for a frozen weight still has to be multiplied by.
# At which scale an experiment was really run, its records say; `dltlib status` lists them.

# %% tags=["remove-input"]
part = facts["slice"]
epoch_hours = sum(part["epoch_seconds"]) * bench.EPOCHS * bench.SEEDS / 3600
other_hours = sum(part["other_seconds"]) * bench.SEEDS / 3600
page.table(
    pd.DataFrame(
        {
            "part": ["training and looks at the validation images", "masks, tests, checkpoints"],
            "hours": [f"{epoch_hours:.2f}", f"{other_hours:.2f}"],
        }
    ),
    caption="The projected programme by what the time is spent on.",
    index=False,
)

# %% [markdown]
# ## Convolutions
#
# A convolution uses each of its weights at every position of the image. So there is much arithmetic to a weight, and what stock PyTorch does with it
# (oneDNN's convolutions) runs close to what the machine can do; but it does it for every zero, too. The kernel goes by surviving weights here as well:
#
# - **The same lists.** Activity lies as it does in dense layers, images side by side, with a border of zeros around every channel. Seen from any
#   position of the output, a weight's input is then a constant number of places away, so that a list of weights and such distances is a convolution: it is
#   walked once for every position. Backwards, errors take the same walk by a list that points the other way.
# - **Four positions at a time.** A row of the kernel's registers is 16 images at four positions, one below the other. These share most of their
#   inputs, so that what some channels need stays in the nearest cache, which 64 images of one position would overflow; and a step to the
#   right needs half of the new inputs that it would need if the four lay side by side.
# - **Gradients share their errors.** Four weights of an output channel are correlated with its errors at a time; in a whole layer, two weights of three
#   channels each. Every weight has a whole vector of partial sums, and these are added up once for a band of image rows and not at every position.
# - **Back through a pooled layer, the errors are the list.** Pooling sends an error to one position in four, and ReLU stops some of those, so that most of a pooled layer's
#   errors are zero. In wide layers, unless few of the weights are left, the two change places: each error that is there multiplies nine rows
#   of 16 channels, one for each tap, of the weights (which gives the errors below) or of the input (which gives the gradients). That costs the same at any density.
# - **Rows in an order.** Four image rows, block of input channels, position, output channel, weight: the innermost loops find all they need in
#   the caches next to the core.
#
# The order of every sum is fixed by the code. A convolutional record is therefore the same, bit for bit, on any x86-64 processor that has fused multiply-adds, which stock
# convolutions, written anew for each generation of processors, do not promise.

# %% tags=["remove-input"]
gains = bench.conv_ratios(record)
conv_fused = bench.conv_ratios(record, against="plain, fused")
end_to_end = (
    gains.sort_values("round").groupby(["network", "width"])["median"].agg(["first", "last"])
)
page.show(
    figures.gain_curves(gains),
    name="fig-speed-conv",
    alt="Times faster than the plain loop against weights left, both on log axes, for Conv2, Conv4 and Conv6, each "
    f"at a quarter of its width and at full width. All lines rise as weights are pruned, from {end_to_end['first'].min():.1f} to "
    f"{end_to_end['first'].max():.1f} where all are there to {end_to_end['last'].min():.1f} to {end_to_end['last'].max():.1f} where fewest are.",
    caption="Convolutional networks on CIFAR-10: how many times faster than the plain loop, against density. Dashed: "
    "a quarter of the channels and hidden units. Bands reach from the 10th to the 90th percentile.",
    source=record.provenance(),
)

# %% tags=["remove-input"]
keys = ["network", "width", "round"]
conv = pd.concat(bench.shares_of_peak(record, part) for part in bench.conv_parts(record))
conv = conv.set_index([*keys, "way"])
by_case = gains.set_index(keys)
fused_by_case = conv_fused.set_index(keys)["median"]
page.table(
    pd.DataFrame(
        {
            "network": f"{case[0].capitalize()}, width {case[1]:g}",
            "weights left": figures.percent(row["density"]),
            "this library, ms": f"{conv.loc[(*case, 'engine'), 'median']:.1f}",
            "plain loop, ms": f"{conv.loc[(*case, 'plain'), 'median']:.1f}",
            "times faster (10–90 %)": "{median:.2f} ({low:.2f}–{high:.2f})".format(**row),
            "than with fused Adam": f"{fused_by_case[case]:.2f}",
            "of the matrix peak": f"{100 * conv.loc[(*case, 'engine'), 'matrix_share']:.0f} %",
            "plain loop's": f"{100 * conv.loc[(*case, 'plain'), 'matrix_share']:.0f} %",
        }
        for case, row in by_case.loc[fused_by_case.index].iterrows()
    ),
    caption="Convolutional networks, per replica and iteration, a replica for each thread. The last two columns: arithmetic "
    "that the surviving weights need, as a share of what the machine can do.",
    index=False,
)
full = ("conv2", 1.0)
conv2_plain = conv.xs("plain", level="way")["median"].loc[full]
whole_fused = fused_by_case.xs(0, level="round")
page.glue(
    conv_dense=by_case.loc[(*full, 0), "median"],
    conv_end=by_case.loc[(*full, 21), "median"],
    conv_arm=bench.arm_ratio(record, bench.conv_part("conv2", 1)),
    conv_arm_narrow=bench.arm_ratio(record, bench.conv_part("conv2", 0.25)),
    conv_peak=100 * conv.loc[(*full, 0, "engine"), "matrix_share"],
    conv_plain_peak=100 * conv.loc[(*full, 0, "plain"), "matrix_share"],
    conv_peak_end=100 * conv.loc[(*full, 21, "engine"), "matrix_share"],
    conv_price="That costs no time: with all weights there the kernel is "
    f"{whole_fused.min():.2f} to {whole_fused.max():.2f} times as fast as the loop with fused Adam."
    if whole_fused.min() >= 1
    else f"The price: with all weights there the kernel is {whole_fused.min():.2f} to {whole_fused.max():.2f} times as fast as the loop with fused Adam.",
    conv_plain_dense=conv2_plain[0],
    conv_plain_low=conv2_plain.drop(0).min(),
    conv_plain_high=conv2_plain.drop(0).max(),
)

# %% [markdown]
# Conv2 at full width is trained {glue:text}`conv_dense:.2f` times as fast as by the plain loop where all its weights are there, and {glue:text}`conv_end:.1f` times where
# 21 rounds have left few. Over the 24 rounds of an arm that is {glue:text}`conv_arm:.1f` times, and {glue:text}`conv_arm_narrow:.1f` times at a
# quarter of the width. The plain loop takes {glue:text}`conv_plain_dense:.0f` ms for the dense network and between {glue:text}`conv_plain_low:.0f` and
# {glue:text}`conv_plain_high:.0f` ms in later rounds, where it has gradients to mask: no less the fewer are left.
#
# Where does the rest go? Dense and at full width the plain loop runs at {glue:text}`conv_plain_peak:.0f` % of the machine's matrix peak. No way of arranging the same arithmetic is faster than
# the peak; the library gets to {glue:text}`conv_peak:.0f` %, counted by the arithmetic of the weights, because it leaves out that of errors which are zero. What else it waits for are mostly loads: a layer of
# 16,384 × 256 dense weights comes by from memory for each batch, and once weights are missing there is a load for every multiply-add. At the sparse end the library's share is {glue:text}`conv_peak_end:.0f` %, because lists
# become so short that beginning and ending a row costs as much as the weights in it, and what does not depend on weights (pooling,
# moving images and activity) is a part of the whole. Dense layers stay in the kernel, too: given to stock convolutions, they would take the
# first rounds' bits with them, which would then depend on the processor again. {glue:text}`conv_price` What does go through stock PyTorch on a CPU are the products of learned masks, the gradients
# of the loss that some criteria ask for, and tests of masks on FC that keep more than three tenths: of those the last bits depend on the processor, and records say on which kind they were made.

# %% [markdown]
# ## On a GPU
#
# On a GPU the data set lives on the device as bytes, and a whole step of all replicas (gathering the batch, forward, backward, masking the gradients,
# Adam) is captured once as a CUDA graph and then replayed: two launches for each iteration instead of hundreds, and nothing that
# makes the host wait before the epoch ends. Fully connected layers are batched matrix products over the replicas, convolutions are
# grouped, channels last, in fp32, tf32 or bf16 as `--precision` says, with weights always in fp32. `dltlib bench --gpu` measures this path
# beside the eager loop, into a record of its own.

# %% tags=["remove-input"]
if bench.record_path(gpu=True).exists():
    on_gpu = bench.read(bench.record_path(gpu=True))
    page.table(
        bench.gpu_speeds(on_gpu)
        .round({"microseconds": 2, "teraflops": 1})
        .rename(columns={"microseconds": "µs per replica and iteration", "teraflops": "TFLOP/s"}),
        caption=f"Training steps. {on_gpu.provenance()}",
        index=False,
    )
else:
    print("No GPU has been measured yet: nothing is claimed about its speed.")

# %% [markdown]
# ## See for yourself
#
# The cell below trains eighteen replicas for some iterations, densely and with 4 % of their weights, and compares the two.
# Change the share, the network's width or the number of seeds. Times differ from machine to machine and from minute to minute,
# so it prints no more than what should hold on all of them.

# %%
import time

import torch

from dltlib import bench, networks, training

network = networks.build("fc", (1, 28, 28))
images, _ = bench.load_images(bench.QUICK)  # made up, as dark as MNIST's: nothing to download
settings = training.Settings(epochs=1, learning_rate=1.2e-3)
seeds = list(range(18))


def milliseconds(share):
    """Processor time per replica and iteration, the best of five tries."""
    weights = networks.initial_weights(network, seeds)
    masks = [torch.rand_like(weight) < share for weight in weights]
    weights = [weight * mask for weight, mask in zip(weights, masks)]
    run = bench.engine(network, weights, masks, settings, images.train, seeds)
    run(2)  # compiles, or loads what was compiled before
    tries = []
    for _ in range(5):
        start = time.process_time()  # the clock on the wall would count what others do, too
        run(10)
        tries.append((time.process_time() - start) * 1000 / 10 / len(seeds))
    return min(tries)


dense, sparse = milliseconds(1.0), milliseconds(0.04)
print("sparse training is faster:", sparse < dense)
print("more than twice as fast:", sparse < dense / 2)

# %% [markdown]
# The pictures and tables above are redrawn from a benchmark of your own machine by
#
# ```sh
# dltlib bench         # some minutes, best with nothing else running
# dltlib book speed
# ```
#
# More hands than one machine has are the matter of {doc}`machines`.

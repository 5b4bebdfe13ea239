"""Training networks on a CPU, touching only the weights that exist.

A pruned network has few weights; a matrix product or a convolution does not know that. Here each
unit's surviving weights lie in a compressed list, one replica after another is trained by one
thread, and cost falls with density. Replicas share nothing but the images, so each gets the same
bits whatever runs beside it, in whatever order, on however many threads; and the order of every
sum is written down, so that any x86-64 processor with FMA gives them.

How it is laid out, and why
---------------------------
*The batch is the vector.* A dense layer's activity is stored ``[feature, column]``, a column being
one image, in tiles of 256 bytes a row (64 columns in float32): as many accumulators as the
processor's vector registers hold with some to spare. A weight then costs one scalar load and a run
of fused multiply-adds with no shuffling, wherever in the layer it sits.

*A convolution is the same list, walked once for each output position.* Its activity is stored
``[channel, y + 1, x + 1, column]`` in strips of 64 bytes (a quarter of a tile), with a border of
zeros that ReLU and pooling leave alone. So a row of 256 bytes is the same position of four image
rows, a strip of each::

    channel c:   0 | x=0  x=1  x=2 ...      each x: 16 columns
          y=0    0 |  A    .    .
          y=1    0 |  A    .    .           A: one row, four strips that lie an image row apart
          y=2    0 |  A    .    .
          y=3    0 |  A    .    .
    the tap (ky, kx) of channel c, for all four:  the same four, shifted by a constant offset

and `accumulate`, which adds number times row into registers, serves both kinds of layer: a weight
is a value and an offset. The input's errors are the same walk over the transposed, mirrored list.
Why strips: with 64 columns to a position the window of a few channels already fills the
first-level cache; four positions by 16 columns share most of their taps. Measured once, on a busy
Zen 3, forward, 64 to 64 channels, each with its best number of blocks: 59 against 53 GFLOP/s at
density 0.5, 37 against 25 at 0.1. Why one below the other: a step to the right brings six new
strips of each channel into the cache, and would bring twelve if the four lay side by side; forward
and back that is a sixth of the time at density 0.1, a quarter at 0.03.

*Order of a convolution's loops*: four image rows, sixteen columns of them, block of input channels,
position, output channel, its weights. The gradient of the weights goes by band of rows, block and
output channel, four weights sharing each load of errors, with vectors of partial sums that are
folded once a band.

*A whole layer* (all its weights trained) has the same list for every unit, so that six units share
each load of an input, a strip of each unit's row at a time: twelve accumulators, two inputs, and a
weight. One unit alone does a load for every multiply-add, and more loads than that a processor
cannot do. In the same way the gradient of a whole convolution takes three units and two weights of
each at a time. The sums and their order are the same, hence the bits.

*Back through a pooled layer*, most errors are zero, and unless few of its weights are left the
errors are the list: the weight and the row of the walk change places, and a row is 16 channels of
one position of one image. It costs the same whatever the density, a fifth of a whole layer's
gradients and errors. `sparse_errors` spells it out; which layers go that way is decided by
`layout.TURNED_WORK` and `lists.TURNED_DENSITY`.

*Biases are weights* of an input that is always one: each layer's activity has a first row, or
plane, of ones.

*Two lists*: trained weights first, then weights that are frozen at a value other than zero; the
second is left out where gradients are taken. Frozen zeros are in neither.

*Blocks of inputs*: a list is ordered by block of inputs, then by unit, so that the activity that a
block needs stays in the first-level cache while all units read it. Pixels that a dense layer reads
are ordered by how often they are lit, so that the last blocks are dark in many batches and can be
passed over: a weight there has no gradient (its momentum still moves it).

Files: `intrinsics` (rows in registers), `layout` (what is where), `lists` (surviving weights),
`rows` (one row of every unit), `staging` (images turned round), `dense` and `convolution` (a layer
forward, backward, updated), `sparse_errors` (a pooled one backward), `learning` (loss and Adam),
`step` (one iteration, and replicas over threads); and `masks`, which learns masks.
"""

from dltlib.kernel.step import KernelStep

__all__ = ["KernelStep"]

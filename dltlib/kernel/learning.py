"""Where a step's two ends are: the loss that errors begin with, and the update by Adam."""

import numpy as np

from dltlib.kernel.intrinsics import compiled
from dltlib.kernel.layout import Net, Space

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # torch.optim.Adam's defaults


@compiled
def loss(net: Net, space: Space, labels: np.ndarray) -> float:
    """Mean softmax cross entropy over the batch; leaves its gradient in the last errors."""
    last = net.planes[net.planes.size - 1]
    classes, columns = last.features, last.plane
    activity, errors = space.activity, space.errors
    kind = activity.dtype.type
    total = 0.0
    for position in range(labels.size):
        tile, column = position // columns, position % columns
        at = last.activity + tile * last.stride + columns + column
        to = last.errors + tile * last.stride + columns + column
        highest = activity[at]
        for unit in range(1, classes):
            highest = max(highest, activity[at + unit * columns])
        mass = kind(0)
        for unit in range(classes):
            share = np.exp(activity[at + unit * columns] - highest)
            errors[to + unit * columns] = share
            mass += share
        answer = labels[position] * columns
        total += np.log(mass) + highest - activity[at + answer]
        scale = 1 / (mass * labels.size)
        for unit in range(classes):
            errors[to + unit * columns] *= scale
        errors[to + answer] -= kind(1 / labels.size)
    return total / labels.size


@compiled
def adam(
    net: Net, gradients: np.ndarray, start: int, stop: int, rate: float, correction: float
) -> None:
    """torch.optim.Adam's update of the values from ``start`` to ``stop`` by these gradients."""
    kind = gradients.dtype.type
    one, two = kind(1 - BETA1), kind(1 - BETA2)
    keep, rate, correction, epsilon = kind(BETA2), kind(rate), kind(correction), kind(EPSILON)
    # Slices, because a loop from zero over an array's own length is what numba vectorises.
    values, gradients = net.forward.values[start:stop], gradients[: stop - start]
    momenta, variances = net.momentum[start:stop], net.variance[start:stop]
    for i in range(values.size):
        momenta[i] += one * (gradients[i] - momenta[i])
        variances[i] = keep * variances[i] + two * gradients[i] * gradients[i]
        values[i] -= rate * momenta[i] / (np.sqrt(variances[i]) * correction + epsilon)

"""What a plan asks of a device: a precision that it computes in, and memory."""

import torch

from dltlib import training
from dltlib.errors import UserError
from dltlib.networks import Network
from dltlib.plans import Plan


def check_precision(plan: Plan, device: torch.device) -> None:
    """Raise `UserError` for a precision that the device does not compute in."""
    if device.type == "cpu" and plan.precision != "fp32":
        raise UserError(
            f"precision {plan.precision} is a GPU's, and a CPU computes in fp32: leave it out, or "
            "run with --device cuda"
        )


def replicas_at_once(plan: Plan, network: Network, device: torch.device) -> int:
    """How many replicas fit into the memory that is free now, at most all of the plan.

    Raises `UserError` if not even one does.
    """
    import psutil

    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = psutil.virtual_memory().available
    each, together = memory(plan, network, device)
    # Half stays free: for the data set, the allocator and everybody else.
    count = int((free / 2 - together) // each)
    if count < 1:
        raise UserError(
            f"one replica of {plan.network} at width {plan.width} needs about "
            f"{(each + together) / 1e9:.1f} GB and twice that should be free, but "
            f"{free / 1e9:.1f} GB are: choose a smaller width, or a machine with more memory"
        )
    return min(count, plan.seeds * len(plan.arms))


def memory(plan: Plan, network: Network, device: torch.device) -> tuple[int, int]:
    """Bytes that each replica needs, and that all of them need once."""
    # w_i, w_f, the start, the present, the best, gradient, two moments of Adam, scores and ranks
    # while pruning (float64 and int64), masks.
    state = network.weight_count * (8 * 4 + 4 * 8 + 4)
    _, height, width = network.input_shape
    pixels = sum(
        channels * height * width // 4 ** (index // 2)
        for index, channels in enumerate(network.channels)
    )
    # Activations of an evaluation batch, or of a training batch with gradients.
    images = max(3 * training.EVALUATION_BATCH, 6 * plan.batch_size)
    activations = 4 * images * (pixels + sum(network.hidden))
    return (state, activations) if device.type == "cpu" else (state + activations, 0)

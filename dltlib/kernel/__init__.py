"""Training networks on a CPU, touching only the weights that exist.

A pruned network has few weights; a matrix product does not know that. Here each unit's surviving
weights lie in a compressed list, one replica after another is trained by one thread, and cost
falls with density. Replicas share nothing but the images, so each gets the same bits whatever
runs beside it, in whatever order, on however many threads.
"""

from dltlib.kernel.step import KernelStep

__all__ = ["KernelStep"]

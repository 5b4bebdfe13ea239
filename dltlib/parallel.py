"""Which replicas share an operation, and how their work is spread over what the machine has.

A GPU takes all replicas together, one captured graph of large kernels. A CPU takes each by itself,
in one thread, and as many at a time as there are cores: no thread waits for another within an
operation, and a replica's bits depend neither on its neighbours nor on the number of threads
(vectorised loops treat the ends of a tensor with other instructions than its middle, and where the
ends are depends on both).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock, local
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")


def groups(replicas: int, device: torch.device) -> list[slice]:
    """The replicas that share an operation: all of them on a GPU, each its own on a CPU."""
    size = 1 if device.type == "cpu" else replicas
    return [slice(first, first + size) for first in range(0, replicas, size)]


_lock = Lock()
_callers = 0  # of `spread`, at work now
_threads = 0  # torch's threads before the first of them came
_here = local()  # ``busy``: this thread is one of theirs


def spread(work: Callable[[Item], object], items: Sequence[Item]) -> None:
    """Do ``work`` on every item, over `torch.get_num_threads()` threads, each item in one.

    An item waits for the next free thread, so the costliest should come first. Several threads may
    call this at once; a call from within ``work`` stays in its thread.
    """
    global _callers, _threads
    if getattr(_here, "busy", False):
        for item in items:
            work(item)
        return
    with _lock:
        if not _callers:
            _threads = torch.get_num_threads()
        _callers += 1
        threads = _threads
    try:
        if threads == 1 or len(items) == 1:
            _alone()
            for item in items:
                work(item)
        else:
            with ThreadPoolExecutor(threads, initializer=_alone) as pool:
                for _ in pool.map(work, items):
                    pass
    finally:
        _here.busy = False
        with _lock:
            _callers -= 1
            # Torch keeps the number for each thread, and for threads to come: the last caller's
            # word is this one too.
            torch.set_num_threads(threads)


def _alone() -> None:
    """Torch's operations in this thread use no other."""
    torch.set_num_threads(1)
    _here.busy = True


def repeatable(
    function: Callable[..., object], inputs: tuple[Tensor, ...], changes: Sequence[Tensor]
) -> Callable[..., object]:
    """``function``, to be called many times with values like ``inputs``.

    On a GPU it is captured once as a CUDA graph, and each call replays it, which costs the host
    two launches instead of hundreds; on a CPU it is returned as it is. Warming up runs the
    function, so the tensors that it changes in place (``changes``) are put back.
    """
    if not inputs[0].is_cuda:
        return function
    places = [value.clone() for value in inputs]
    before = [value.detach().clone() for value in changes]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            function(*places)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function(*places)
    with torch.no_grad():
        for value, old in zip(changes, before, strict=True):
            value.copy_(old)

    def replay(*values: Tensor | int) -> None:
        for place, value in zip(places, values, strict=True):
            if isinstance(value, Tensor):
                place.copy_(value)
            else:
                place.fill_(value)
        graph.replay()

    return replay

"""Named randomness: every draw says what it is for, and nothing else decides its value.

A draw depends on its name alone (seed, purpose, round, layer, ...), never on a global state, on
what was drawn before or on which replicas train beside it. So arms that share a seed are paired,
and an experiment gives the same numbers run whole, in parts, resumed or on several machines.
"""

import hashlib

import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor


def name_to_integer(*names: object, bits: int = 63) -> int:
    """A non-negative integer below ``2**bits`` that the names decide (SHA-256)."""
    digest = hashlib.sha256("/".join(map(str, names)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> (64 - bits)


def generator(*names: object) -> torch.Generator:
    """A CPU generator seeded by its names; draw on the CPU, then move, so devices agree.

    Of the 63 bits of the names' integer, torch's CPU generator takes the lower 32 for its seed.

    >>> torch.rand(1, generator=generator(0, "weights")).item() == torch.rand(
    ...     1, generator=generator(0, "weights")).item()
    True
    """
    return torch.Generator().manual_seed(name_to_integer(*names))


def stream(shape: tuple[int, ...], *names: object) -> Int32[Tensor, "..."]:
    """A field of distinct 32-bit keys, one for each element, for :func:`uniform_at`."""
    key = name_to_integer(*names, bits=31)
    count = int(torch.Size(shape).numel())
    return _mix(_mix(torch.arange(count, dtype=torch.int32)) ^ key).reshape(shape)


def uniform_at(keys: Int32[Tensor, "..."], step: Int[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Uniform float32 draws in [0, 1) for one step, one draw for each key.

    A counter-based generator: the draw is a hash of (key, step), hence the same on every device
    and for any order of evaluation, and it can stand inside a captured CUDA graph. The hash is
    the 32-bit finaliser "lowbias32" (Wellons 2018), applied to the step and then to both.
    """
    bits = _mix(keys ^ _mix(step.to(torch.int32)))
    # The upper 24 bits fill the mantissa of a float32 exactly.
    return ((bits >> 8) & 0xFFFFFF).to(torch.float32) * (1.0 / (1 << 24))


def _mix(bits: Int32[Tensor, "..."]) -> Int32[Tensor, "..."]:
    """A bijection of 32-bit integers that spreads every input bit over all output bits."""
    bits = bits ^ ((bits >> 16) & 0xFFFF)
    bits = bits * 0x7FEB352D
    bits = bits ^ ((bits >> 15) & 0x1FFFF)
    bits = bits * (0x846CA68B - (1 << 32))
    return bits ^ ((bits >> 16) & 0xFFFF)

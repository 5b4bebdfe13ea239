"""The kind of processor that decides bits, and the names of devices for people.

Float32 sums depend on their order. Stock torch chooses it by what the processor can do; the kernel
fixes it in its code, for processors that multiply and add at once.
"""

import platform
from collections.abc import Mapping

import torch

from dltlib.errors import UserError
from dltlib.registry import check_name

DEVICES = ("auto", "cpu", "cuda")


def choose(name: str) -> torch.device:
    """The device of that name here; ``auto`` is the GPU where torch sees one.

    Raises `UserError` for an unknown name, and for ``cuda`` where there is none.

    >>> choose("cpu")
    device(type='cpu')
    """
    check_name("device", name, DEVICES)
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise UserError("torch sees no CUDA GPU here: use --device cpu, or install its drivers")
    return torch.device("cuda" if there and name != "cpu" else "cpu")


def kind(device: torch.device) -> dict[str, str]:
    """What of the device can decide bits: for manifests, checkpoints and captions."""
    if device.type == "cuda":
        return {"gpu": torch.cuda.get_device_name(device)}
    return {"torch": torch.backends.cpu.get_cpu_capability(), "kernel": _kernel_vectors()}


def _kernel_vectors() -> str:
    """What the kernel is compiled for: fused arithmetic or not, and the width of a vector."""
    from llvmlite import binding
    from numba import config

    features = binding.get_host_cpu_features()
    asked = vars(config)["CPU_FEATURES"]  # which numba sets at run time, and declares nowhere
    if asked is not None:  # the user's word for numba
        features = {name: f"+{name}" in asked.split(",") for name in features}
    bits = 512 if features.get("avx512f") else 256 if features.get("avx2") else 128
    return f"{bits} bits, {'fused' if features.get('fma') else 'not fused'}"


def in_words(facts: Mapping[str, str]) -> str:
    """`kind` for a caption.

    >>> in_words({"torch": "AVX2", "kernel": "256 bits, fused"})
    'torch with AVX2, kernel with 256 bits, fused'
    """
    return ", ".join(
        value if name == "gpu" else f"{name} with {value}" for name, value in facts.items()
    )


def describe(device: torch.device) -> str:
    """For manifests: the GPU's name, or the CPU's with the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    processor = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    except OSError:
        pass  # not Linux: the plain name must do
    return f"{processor}, {torch.get_num_threads()} threads"

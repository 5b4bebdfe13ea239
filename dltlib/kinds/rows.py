"""Rows of a record that several kinds of experiment have in common."""

from collections.abc import Sequence
from typing import Any

import torch

from dltlib.history import Masks, Weights
from dltlib.plans import Replica
from dltlib.training import Outcome

Row = dict[str, Any]


def trained(
    replicas: Sequence[Replica],
    round_: int,
    masks: Masks,
    outcome: Outcome,
    networks: Sequence[int] | None = None,
) -> list[Row]:
    """A row for each replica; ``networks`` says which trained one is whose, if not in order."""
    density, layer_density = densities(masks)
    networks = range(len(replicas)) if networks is None else networks
    return [
        {
            "arm": replica.arm,
            "seed": replica.seed,
            "round": round_,
            "density": density[index],
            "layer_density": layer_density[index],
            "early_iteration": outcome.early_iteration[network].item(),
            "validation_accuracy": outcome.early_validation[network].item(),
            "test_accuracy": outcome.early_test[network].item(),
            "final_test_accuracy": outcome.final_test[network].item(),
            "training_loss": outcome.training_loss[network].item(),
        }
        for index, (replica, network) in enumerate(zip(replicas, networks, strict=True))
    ]


def densities(masks: Masks | Weights) -> tuple[list[float], list[list[float]]]:
    """Share of weights left of each replica (expected share, of probabilities): of all, and layer
    by layer."""
    kept = torch.stack([mask.flatten(1).sum(1, dtype=torch.float64) for mask in masks], dim=1)
    sizes = torch.tensor([mask[0].numel() for mask in masks], dtype=torch.float64).to(kept.device)
    return (kept.sum(1) / sizes.sum()).tolist(), (kept / sizes).tolist()

"""What decides the numbers of a run, in a few digits that change when a number would.

Code is recognised by what it does and not by how it is written: each arm is run for two rounds on
a few digits, and everything that comes out, to the last bit, is hashed. So a change of comments or
of structure is none, and a criterion turned round is one. The probe also meets the processor's own
order of summation; since it is small, the torch capability of the processor joins the hash where
stock torch does the work, and two steps of a wider network where the kernel has a pass of its own
for wide layers.
"""

import dataclasses
import hashlib
import json
import re
from functools import lru_cache

import torch

from dltlib import catalogue, experiments, networks, processor, training
from dltlib.actions import MASK0_ACTIONS, MASK1_ACTIONS
from dltlib.checkpoints import Fingerprint
from dltlib.criteria import CRITERIA
from dltlib.datasets import Dataset
from dltlib.kernel import KernelStep
from dltlib.kernel.layout import goes_by_errors
from dltlib.kinds import KINDS
from dltlib.networks import Network
from dltlib.plans import Plan


def take(plan: Plan, dataset: Dataset, device: torch.device) -> Fingerprint:
    """The fingerprint of a plan's arms here and now, within a second or so."""
    data = of_data(dataset)
    small = _small(plan)
    registered = (*CRITERIA.values(), *MASK1_ACTIONS.values(), *MASK0_ACTIONS.values())
    hashes = probe(small, str(device), registered)
    wide = _of_wide_layers() if _has_wide_layers(plan, device) else ""
    arms = {arm: hashes[_early(arm)] + wide for arm in plan.arms}
    return Fingerprint(processor.kind(device), data, arms)


def of_data(dataset: Dataset) -> str:
    """A hash of all images and labels."""
    found = hashlib.blake2b(digest_size=8)
    for split in (dataset.train, dataset.validation, dataset.test):
        for part in (split.images, split.labels):
            found.update(str(tuple(part.shape)).encode())
            found.update(part.cpu().contiguous().numpy().data)
    return found.hexdigest()


PROBED_IMAGES, PROBED_BATCH, PROBED_WIDTH = 120, 30, 0.1


def _early(arm: str) -> str:
    """The arm with late iterations moved to the first one, which a probe reaches."""
    return re.sub(r"@[1-9]\d*", "@1", arm)


def _small(plan: Plan) -> Plan:
    """The plan reduced to a probe: the same arms, rates and shares on a few digits, or on a few of
    its own images where a network halves digits too often."""
    halvings = len(catalogue.NETWORKS.find(plan.network).channels) // 2
    fits = min(catalogue.DATASETS["digits"].shape[1:]) >= 2**halvings
    return dataclasses.replace(
        plan,
        preset="tiny",
        dataset="digits" if fits else plan.dataset,
        arms=tuple(dict.fromkeys(map(_early, plan.arms))),
        seeds=1,
        rounds=min(plan.rounds, 2),
        epochs=2,
        batch_size=PROBED_BATCH,
        evaluate_every=2,
        width=PROBED_WIDTH,
        train_images=PROBED_IMAGES,
    )


def _has_wide_layers(plan: Plan, device: torch.device) -> bool:
    """Whether the kernel trains the plan's tickets and takes some layer back by its errors."""
    kind = KINDS.find(plan.kind)
    if training.uses_stock_torch(device) or kind.stock_torch:
        return False
    network = experiments.build_network(plan)
    shapes = [layer.shape for layer in network.layers]
    return goes_by_errors(shapes, network.input_shape)


@lru_cache(maxsize=1)
def _of_wide_layers() -> str:
    """A hash of what two steps leave of a network whose second layer goes back by its errors."""
    network = Network("probe", (1, 32, 32), (64, 16), ())
    draws = torch.Generator().manual_seed(0)
    weights = networks.initial_weights(network, [0])
    biases = networks.initial_biases(network, 1)
    images = torch.randint(0, 256, (32, *network.input_shape), generator=draws).to(torch.uint8)
    step = KernelStep(
        weights, biases, [torch.ones_like(weight, dtype=torch.bool) for weight in weights],
        learning_rate=1e-3, batch_size=16, image_shape=network.input_shape,
    )  # fmt: skip
    step.advance(images, torch.arange(32) % 10, torch.arange(32).view(1, 2, 16), torch.tensor([0]))
    found = hashlib.blake2b(digest_size=4)
    for part in step.parameters()[0]:
        found.update(part.numpy().tobytes())
    return found.hexdigest()


@lru_cache(maxsize=64)
def probe(plan: Plan, device: str, registered: tuple[object, ...]) -> dict[str, str]:
    """Run a small plan and hash, arm by arm, the rows and the bits of what the last round left.

    ``registered`` are the functions that arms may be made of: one that a notebook's cell defines
    again makes another probe.
    """
    place = torch.device(device)
    # Its bits are compared, and some of cudnn's algorithms do not repeat theirs.
    with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, deterministic=True):
        checkpoint = experiments.in_memory(plan, place)
    stock = training.uses_stock_torch(place) or KINDS.find(plan.kind).stock_torch
    facts = processor.kind(place)
    common = facts.get("torch", facts.get("gpu", "")) if stock else ""
    hashes = {}
    for index, arm in enumerate(plan.arms):
        found = hashlib.blake2b(common.encode(), digest_size=8)
        rows = [row for row in checkpoint.rows if row["arm"] in (arm, "trained")]
        found.update(json.dumps(rows, sort_keys=True).encode())
        # Weights at earlier iterations are there for the arms that asked, and tell in their masks.
        for name in sorted(name for name in checkpoint.names() if not name.startswith("at/")):
            for layer in checkpoint.layers(name):
                # A layer's first axis is the arms, or the one seed.
                bits = layer[index] if len(layer) == len(plan.arms) else layer
                found.update(bits.contiguous().numpy().tobytes())
        hashes[arm] = found.hexdigest()
    return hashes

"""A shard's state between rounds: one safetensors file, replaced atomically after every round.

It holds the rows measured so far, the tensors that the next round needs, and keepsakes (small
arrays that go into the record). A killed run loses the round that was under way, nothing else.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from dltlib.errors import UserError
from dltlib.records import replace_file


class Checkpoint:
    """The state of one shard. ``round`` is the last finished one, -1 before the first."""

    def __init__(self, path: Path, plan_hash: str) -> None:
        self.path, self.plan_hash = path, plan_hash
        self.round = -1
        self.finished = False
        self.seconds = 0.0  # of computing so far, over all resumptions
        self.iterations = 0  # replica-iterations so far, as runners report them
        self._since = monotonic()
        self.rows: list[dict[str, Any]] = []
        self._tensors: dict[str, Tensor] = {}

    @classmethod
    def open(cls, path: Path, plan_hash: str) -> "Checkpoint":
        """The checkpoint at ``path``, or a fresh one if there is none.

        Raises `UserError` if the file is damaged or belongs to another plan.
        """
        checkpoint = cls(path, plan_hash)
        if not path.exists():
            return checkpoint
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                state = json.loads(file.metadata()["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            found, checkpoint.round = state["plan"], state["round"]
            checkpoint.seconds = state["seconds"]
            checkpoint.iterations = state.get("iterations", 0)  # older ones do not say
            checkpoint.finished, checkpoint.rows = state["finished"], state["rows"]
        except Exception as error:  # a cut file fails in many ways
            raise UserError(
                f"the checkpoint {path} is damaged ({type(error).__name__}): delete it, or use "
                "--force, to run its shard from the start"
            ) from error
        if found != plan_hash:
            raise UserError(
                f"the checkpoint {path} belongs to plan {found}, not {plan_hash}: move it away"
            )
        checkpoint._tensors = tensors
        return checkpoint

    def save(
        self,
        round_: int,
        rows: Sequence[Mapping[str, Any]],
        layers: Mapping[str, Sequence[Tensor]],
        keepsakes: Mapping[str, Tensor],
        finished: bool,
    ) -> None:
        """Add a round: its rows and keepsakes join the earlier ones, ``layers`` replace theirs."""
        now = monotonic()
        self.seconds += now - self._since
        self._since = now
        self.round, self.finished = round_, finished
        self.rows += map(dict, rows)
        tensors = {f"keepsake/{name}": value for name, value in self.keepsakes().items()}
        tensors |= {f"keepsake/{name}": value for name, value in keepsakes.items()}
        if not finished:  # a finished shard needs its state no more
            for name, values in layers.items():
                tensors |= {
                    f"layer/{name}/{number:03d}": value.contiguous().cpu()
                    for number, value in enumerate(values)
                }
        self._tensors = tensors
        state = {
            "plan": self.plan_hash,
            "round": round_,
            "finished": finished,
            "seconds": self.seconds,
            "iterations": self.iterations,
            "rows": self.rows,
        }
        replace_file(self.path, lambda temporary: _write(temporary, tensors, state))

    def layers(self, name: str) -> list[Tensor]:
        """The tensors saved under ``name``, layer by layer."""
        return [
            self._tensors[key] for key in sorted(self._tensors) if key.startswith(f"layer/{name}/")
        ]

    def keepsakes(self) -> dict[str, Tensor]:
        """The small arrays that go into the record."""
        prefix = "keepsake/"
        return {
            name.removeprefix(prefix): value
            for name, value in self._tensors.items()
            if name.startswith(prefix)
        }


def _write(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    try:
        safetensors.torch.save_file(tensors, path, metadata={"state": json.dumps(state)})
    except safetensors.SafetensorError as error:  # it wraps the system's, e.g. of a full disk
        raise OSError(str(error)) from error

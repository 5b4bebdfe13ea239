"""A shard's state between rounds: one safetensors file, replaced atomically after every round.

It holds the rows measured so far, the tensors that the next round needs, and keepsakes (small
arrays that go into the record); and it says whose they are: of which plan, of which replicas, made
by which code on which kind of processor. A round that takes long rests every `REST` seconds: what
its training has come to is kept beside the last finished round. A killed run loses what came after,
nothing else.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from dltlib import processor, records
from dltlib.errors import UserError
from dltlib.files import replace_file
from dltlib.plans import Replica

PATTERN = "shard-*.safetensors"
REST = 240.0  # seconds of a round after which its training is kept, at the next epoch's end


@dataclass(frozen=True)
class Fingerprint:
    """What decides the numbers of a run (`fingerprints.take`). ``arms``: a hash of what each arm's
    probe gave; ``data``: of all images and labels."""

    processor: Mapping[str, str]
    data: str
    arms: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """As manifests and checkpoints hold it."""
        return {"processor": dict(self.processor), "data": self.data, "arms": dict(self.arms)}

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """In words, what another fingerprint (as a dict) says differently of the same arms."""
        changed = [
            arm for arm, value in other["arms"].items() if self.arms.get(arm, value) != value
        ]
        if self.data == other["data"] and not changed:
            return []
        said = [f"other numbers for {', '.join(changed)}"] if changed else []
        if self.data != other["data"]:
            said.append("other data")
        if dict(self.processor) != other["processor"]:
            words = (processor.in_words(facts) for facts in (other["processor"], self.processor))
            said.append("another kind of processor ({}; here {})".format(*words))
        return said

    def hold_record(self, manifest: Mapping[str, Any]) -> None:
        """Raise `UserError` if a finished record, whose manifest this is, was made by what gives
        other numbers on the same kind of processor; where it does not say, or another kind made it,
        there is nothing to compare."""
        if "fingerprint" not in manifest or manifest["processor"] != dict(self.processor):
            return
        made = {**manifest["fingerprint"], "processor": manifest["processor"]}
        if differences := self.differences(made):
            raise UserError(
                f"the record {manifest['name']} was made by what gives {'; '.join(differences)}: "
                "remake it with --force (force=True), or give the criterion or action that you "
                "changed another name"
            )

    def origin(self) -> dict[str, Any]:
        """For a checkpoint: by which commit, and by what, its rows are made."""
        return {"commit": records.commit(), **self.as_dict()}


class Checkpoint:
    """The state of one shard. ``round`` is the last finished one, -1 before the first.

    Without a path it is kept in memory alone.
    """

    def __init__(self, path: Path | None, plan_hash: str, replicas: Sequence[Replica]) -> None:
        self.path, self.plan_hash, self.replicas = path, plan_hash, list(replicas)
        self.round = -1
        self.finished = False
        self.seconds = 0.0  # of computing so far, over all resumptions
        self.iterations = 0  # replica-iterations so far, as runners report them
        # What made the rows: `Fingerprint.as_dict`, one more entry wherever it changed.
        self.origins: list[dict[str, Any]] = []
        self.rows: list[dict[str, Any]] = []
        self._rested_by = 0  # how many origins there were when the round under way was begun
        self._since = monotonic()
        self._tensors: dict[str, Tensor] = {}

    @classmethod
    def open(cls, path: Path, plan_hash: str) -> "Checkpoint":
        """The checkpoint at ``path``.

        Raises `UserError` if the file is damaged or belongs to another plan.
        """
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                state = json.loads(file.metadata()["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            rows = state["rows"]
            # Older ones do not say which replicas they hold; their rows do.
            replicas = state.get("replicas") or dict.fromkeys(
                (row["arm"], row["seed"]) for row in rows if row["arm"] != "trained"
            )
            checkpoint = cls(path, state["plan"], [Replica(*replica) for replica in replicas])
            checkpoint.round, checkpoint.finished = state["round"], state["finished"]
            checkpoint.seconds, checkpoint.rows = state["seconds"], rows
            checkpoint.iterations = state.get("iterations", 0)
            checkpoint.origins = state.get("origins", [])
            checkpoint._rested_by = state.get("rested_by", 0)
        except Exception as error:  # a cut file fails in many ways
            raise UserError(
                f"the checkpoint {path} is damaged ({type(error).__name__}): delete it, or use "
                "--force, to run its shard from the start"
            ) from error
        if checkpoint.plan_hash != plan_hash:
            raise UserError(
                f"the checkpoint {path} belongs to plan {checkpoint.plan_hash}, not {plan_hash}: "
                "move it away"
            )
        checkpoint._tensors = tensors
        return checkpoint

    def hold(self, fingerprint: Fingerprint, accept_change: bool) -> None:
        """Refuse to mix numbers of two codes or processors in a record (`UserError`), or note that
        it was asked for."""
        known = self.origins
        differences = (
            fingerprint.differences(known[-1]) if known else ["nobody knows which numbers"]
        )
        if not differences:
            return
        if not accept_change:
            raise UserError(
                f"the checkpoint {self.path} was begun by what gives "
                f"{'; '.join(differences)}: go on all the same with --accept-change, and the "
                "record will say so, or begin anew with --force"
            )
        self.origins = [*(known or [{"commit": "unknown"}]), fingerprint.origin()]

    def save(
        self,
        round_: int,
        rows: Sequence[Mapping[str, Any]],
        layers: Mapping[str, Sequence[Tensor]],
        keepsakes: Mapping[str, Tensor],
        finished: bool,
    ) -> None:
        """Add a round: its rows and keepsakes join the earlier ones, ``layers`` replace theirs."""
        for row in rows:
            records.check_columns(row)  # now, and not when the last round is done
        self.round, self.finished = round_, finished
        self.rows += map(dict, rows)
        tensors = {f"keepsake/{name}": value for name, value in self.keepsakes().items()}
        tensors |= {f"keepsake/{name}": value for name, value in keepsakes.items()}
        if not finished or self.path is None:  # a finished shard's file needs its state no more
            for name, values in layers.items():
                tensors |= {
                    f"layer/{name}/{number:03d}": _copy(value)
                    for number, value in enumerate(values)
                }
        self._tensors = tensors
        self._write()

    def begin(self) -> None:
        """Count seconds from now on: another shard may have been computed since it was made."""
        self._since = monotonic()

    def rest(self, training: Callable[[], Mapping[str, Tensor]]) -> None:
        """Keep the state of the round under way, if the last time is long enough ago."""
        if self.path is None or monotonic() - self._since < REST:
            return
        self._rested_by = len(self.origins)
        kept = {name: x for name, x in self._tensors.items() if not name.startswith("training/")}
        rested = {f"training/{name}": _copy(value) for name, value in training().items()}
        self._tensors = kept | rested
        self._write()

    def training(self) -> dict[str, Tensor] | None:
        """The state of the round after `round`, if it was under way; none of a round that began
        under another origin, lest two make one round."""
        if self._rested_by != len(self.origins):
            return None
        return self._under("training/") or None

    def _write(self) -> None:
        now = monotonic()
        self.seconds += now - self._since
        self._since = now
        if self.path is None:
            return
        state = {
            "plan": self.plan_hash,
            "replicas": self.replicas,
            "origins": self.origins,
            "rested_by": self._rested_by,
            "round": self.round,
            "finished": self.finished,
            "seconds": self.seconds,
            "iterations": self.iterations,
            "rows": self.rows,
        }
        replace_file(self.path, lambda temporary: _save_file(temporary, self._tensors, state))

    def layers(self, name: str, device: torch.device | str = "cpu") -> list[Tensor]:
        """The tensors saved under ``name``, layer by layer."""
        return [
            self._tensors[key].to(device)
            for key in sorted(self._tensors)
            if key.startswith(f"layer/{name}/")
        ]

    def names(self) -> set[str]:
        """Under which names there are `layers`."""
        parts = [key.split("/") for key in self._tensors]
        return {"/".join(part[1:-1]) for part in parts if part[0] == "layer"}

    def keepsakes(self) -> dict[str, Tensor]:
        """The small arrays that go into the record."""
        return self._under("keepsake/")

    def _under(self, prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): value
            for name, value in self._tensors.items()
            if name.startswith(prefix)
        }


def shards(replicas: Sequence[Replica], size: int) -> Iterator[list[Replica]]:
    """The replicas in runs of at most ``size``.

    >>> [len(shard) for shard in shards([Replica("random", seed) for seed in range(6)], 4)]
    [4, 2]
    """
    for first in range(0, len(replicas), size):
        yield list(replicas[first : first + size])


def division(replicas: int, fitting: int) -> int:
    """How many of so many replicas a shard gets, when at most ``fitting`` fit into memory: the
    least that makes as few shards of about one size.

    >>> [division(14, fitting) for fitting in (14, 13, 6)]
    [14, 7, 5]
    """
    return max(1, math.ceil(replicas / max(1, math.ceil(replicas / fitting))))


def furthest_first(directory: Path, plan_hash: str) -> list[Checkpoint]:
    """The checkpoints of a plan in its directory.

    Raises `UserError` for a damaged one, one of another plan, and one under another's name.
    """
    found = []
    for path in sorted(directory.glob(PATTERN)):
        checkpoint = Checkpoint.open(path, plan_hash)
        if path.name != (proper := file_name(checkpoint.replicas)):
            raise UserError(
                f"the checkpoint {path} holds the replicas of another shard: give it its own name "
                f"back ({proper}), or delete it"
            )
        found.append(checkpoint)
    return sorted(found, key=lambda one: (-one.round, one.training() is None))


def delete(directory: Path) -> None:
    """Those of a plan that is done, or is to begin anew."""
    for path in directory.glob(PATTERN):
        path.unlink(missing_ok=True)


def _copy(value: Tensor) -> Tensor:
    """On the CPU: whoever gave it goes on changing it, and a rest writes it once more."""
    return value.detach().clone(memory_format=torch.contiguous_format).cpu()


def file_name(shard: Sequence[Replica]) -> str:
    """The checkpoint of these replicas has this name among those of its plan."""
    text = json.dumps([list(replica) for replica in shard])
    return f"shard-{hashlib.sha256(text.encode()).hexdigest()[:8]}.safetensors"


def _save_file(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    try:
        safetensors.torch.save_file(dict(tensors), path, metadata={"state": json.dumps(state)})
    except safetensors.SafetensorError as error:  # it wraps the system's, e.g. of a full disk
        raise OSError(str(error)) from error

"""How a network is trained, as a value."""

from dataclasses import dataclass

from dltlib.errors import UserError
from dltlib.registry import check_name

PRECISIONS = ("fp32", "tf32", "bf16")


@dataclass(frozen=True)
class Settings:
    """How a network is trained. Section 2 of the paper gives the values for each network."""

    epochs: int
    learning_rate: float
    batch_size: int = 60
    evaluate_every: int = 100  # iterations
    precision: str = "fp32"  # of matrix products on a GPU; weights are always fp32

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "evaluate_every"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 < self.learning_rate < float("inf"):
            raise UserError(f"learning_rate must be a positive number, not {self.learning_rate}")
        check_name("precision", self.precision, PRECISIONS)

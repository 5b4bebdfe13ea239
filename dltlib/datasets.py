"""Named data sets as tensors on one device: uint8 images, split as in section 2 of the paper.

`digits` is embedded in scikit-learn and needs no file. The others are read from the data directory
in the layout of torchvision, which also downloads them (``dltlib data NAME``); CIFAR-10 may lie
there as ``cifar10.npz`` instead. Nothing is downloaded unless asked for. `register` adds one of
your own.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from dltlib import catalogue, paths, randomness
from dltlib.catalogue import DataSource
from dltlib.errors import UserError

Images = UInt8[Tensor, "n channels height width"]
Labels = Int64[Tensor, " n"]


@dataclass(frozen=True)
class Split:
    """Images and their labels, in step. Pixels are 0-255; networks see them divided by 255."""

    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> "Split":
        """Only the first ``count`` images."""
        return Split(self.images[:count], self.labels[:count])

    def to(self, device: torch.device | str) -> "Split":
        """The same on another device."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Dataset:
    """Train, validation and test splits."""

    name: str
    train: Split
    validation: Split
    test: Split

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    def to(self, device: torch.device | str) -> "Dataset":
        """The same on another device."""
        return replace(
            self,
            train=self.train.to(device),
            validation=self.validation.to(device),
            test=self.test.to(device),
        )

    def with_train_images(self, count: int | None) -> "Dataset":
        """Only the first ``count`` training images; all of them for ``None``."""
        if count is None:
            return self
        if not 0 < count <= len(self.train):
            raise UserError(
                f"train_images must lie between 1 and the {len(self.train)} of {self.name}, "
                f"not {count}"
            )
        return replace(self, train=self.train.first(count))


Reader = Callable[[Path], Dataset]
_READERS: dict[str, Reader] = {}


def register(source: DataSource, read: Reader) -> None:
    """Add a data set: its facts, and the function that reads it from the data directory.

    ``read`` raises `UserError` where the files are missing or damaged.
    """
    catalogue.DATASETS.add(source)
    _READERS[source.name] = read


def load(name: str, directory: Path | None = None) -> Dataset:
    """The data set ``name``, on the CPU; ``directory`` defaults to `paths.data()`.

    Raises `UserError` if the name is unknown, or if files are missing or damaged; the message
    names the directory and the command that fetches them. What a reader gives is held to the facts
    that the catalogue states of the data set.
    """
    facts = catalogue.DATASETS.find(name)
    if name not in _READERS:
        raise UserError(
            f"{name} has an entry in the catalogue but no reader: datasets.register adds both"
        )
    found = _READERS[name](directory or paths.data())
    for part, count in (
        ("train", facts.train), ("validation", facts.validation), ("test", facts.test)
    ):  # fmt: skip
        split = getattr(found, part)
        if amiss := _amiss(name, split.images, split.labels, count):
            raise UserError(f"what was read as {name} is not what its entry says: {part}, {amiss}")
    return found


def _amiss(name: str, images: Tensor, labels: Tensor, count: int) -> str:
    """What is wrong with a split, in words: type, size, count, classes; nothing if all is well."""
    facts = catalogue.DATASETS[name]
    shape = (count, *facts.shape)
    if images.dtype != torch.uint8:
        return f"pixels are {images.dtype}; uint8 expected"
    if tuple(images.shape) != shape or len(labels) != count:
        return f"images {tuple(images.shape)}, {len(labels)} labels; {shape} expected"
    if labels.min() < 0 or labels.max() >= facts.classes:
        return f"labels outside 0-{facts.classes - 1}"
    return ""


def download(name: str, directory: Path | None = None) -> Path:
    """Fetch a data set through torchvision; returns the directory it lies in."""
    directory = directory or paths.data()
    catalogue.DATASETS.find(name)
    if name not in _TORCHVISION:
        return directory  # embedded, or somebody else's to fetch
    if (directory / f"{name}.npz").exists():
        load(name, directory)  # it has precedence: if it is damaged, a download would not help
        return directory
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for train in (True, False):
            _torchvision_class(name)(directory, train=train, download=True)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
        raise UserError(
            f"could not download {name} to {directory} ({reason}): check the network and that "
            "the directory can be written, or put torchvision's files there by hand"
        ) from error
    load(name, directory)
    return directory


def _digits(directory: Path) -> Dataset:
    from sklearn.datasets import load_digits

    digits = load_digits()
    # Grey levels 0-16 become 0-255. The published order groups writers: shuffle, by name.
    images = torch.from_numpy(np.rint(digits.images * (255 / 16)).astype(np.uint8))[:, None]
    labels = torch.from_numpy(digits.target.astype(np.int64))
    order = torch.randperm(len(labels), generator=randomness.generator("digits", "split"))
    images, labels = images[order], labels[order]
    source = catalogue.DATASETS["digits"]
    cut = source.train + source.validation
    return _split("digits", Split(images[:cut], labels[:cut]), Split(images[cut:], labels[cut:]))


def _split(name: str, train: Split, test: Split) -> Dataset:
    """The last training images, in published order, are the validation split."""
    cut = catalogue.DATASETS[name].train
    return Dataset(
        name,
        train.first(cut),
        Split(train.images[cut:].contiguous(), train.labels[cut:].contiguous()),
        test,
    )


# Classes of torchvision.datasets, which fetch and read.
_TORCHVISION = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "cifar10": "CIFAR10"}


def _torchvision_class(name: str) -> Any:
    import torchvision

    return getattr(torchvision.datasets, _TORCHVISION[name])


def _from_torchvision(name: str, directory: Path) -> Dataset:
    """Read both splits with torchvision, and hold them to the catalogue's facts."""
    facts = catalogue.DATASETS[name]
    splits = []
    for train, count in ((True, facts.train + facts.validation), (False, facts.test)):
        try:
            source = _torchvision_class(name)(directory, train=train, download=False)
        except RuntimeError as error:
            if "not found" in str(error).lower():
                raise UserError(
                    f"{name} is not in {directory}: run 'dltlib data {name}' to download it, or "
                    "set DLTLIB_DATA to the directory that holds torchvision's files"
                ) from error
            raise _damaged(name, directory, str(error)) from error
        except Exception as error:  # torchvision asserts, indexes and unpacks without checks
            raise _damaged(name, directory, repr(error)) from error
        images = torch.as_tensor(source.data)
        labels = torch.as_tensor(source.targets, dtype=torch.int64)
        # Channels come last, or there is one.
        images = images.permute(0, 3, 1, 2) if images.ndim == 4 else images[:, None]
        splits.append(_checked(name, directory, images.contiguous(), labels, count))
    return _split(name, *splits)


def _checked(name: str, where: Path, images: Tensor, labels: Tensor, count: int) -> Split:
    """The split, or `UserError` if it is not whole."""
    if amiss := _amiss(name, images, labels, count):
        raise _damaged(name, where, amiss)
    return Split(images, labels)


def _damaged(name: str, where: Path, reason: str) -> UserError:
    return UserError(
        f"the files of {name} in {where} are damaged ({reason}): delete them and run "
        f"'dltlib data {name}'"
    )


# MD5 sums of the published, unpacked MNIST files: a changed byte inside an image leaves every
# shape right, so shapes alone would not tell.
_MNIST_SUMS = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def _mnist(directory: Path) -> Dataset:
    for file, expected in _MNIST_SUMS.items():
        path = directory / "MNIST" / "raw" / file
        if path.exists() and hashlib.md5(path.read_bytes()).hexdigest() != expected:
            raise _damaged("mnist", directory, f"{file} has another checksum than the published")
    return _from_torchvision("mnist", directory)


def _fashion_mnist(directory: Path) -> Dataset:
    return _from_torchvision("fashion_mnist", directory)


def _cifar10(directory: Path) -> Dataset:
    archive = directory / "cifar10.npz"
    if not archive.exists():
        return _from_torchvision("cifar10", directory)
    try:
        with np.load(archive, allow_pickle=False) as arrays:
            splits = [
                _checked(
                    "cifar10",
                    archive,
                    torch.from_numpy(arrays[f"x_{part}"]).permute(0, 3, 1, 2).contiguous(),
                    torch.from_numpy(arrays[f"y_{part}"].astype(np.int64)),
                    count,
                )
                for part, count in (("train", 50_000), ("test", 10_000))
            ]
    except UserError:
        raise
    except Exception as error:  # a cut or foreign file fails in many ways
        raise _damaged("cifar10", archive, repr(error)) from error
    return _split("cifar10", *splits)


_READERS |= {
    "digits": _digits,
    "mnist": _mnist,
    "fashion_mnist": _fashion_mnist,
    "cifar10": _cifar10,
}

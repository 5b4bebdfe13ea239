"""Data sets: whole ones are read and split as published; what is missing or damaged says so."""

import dataclasses
import gzip
import hashlib
import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from sklearn.datasets import load_digits

from dltlib import catalogue, cli, datasets
from dltlib.datasets import Dataset
from dltlib.errors import UserError

FILES = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}


def idx(values: np.ndarray) -> bytes:
    """The format of the published files: magic number, sizes, bytes."""
    header = bytes([0, 0, 8, values.ndim])
    return header + b"".join(size.to_bytes(4, "big") for size in values.shape) + values.tobytes()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files as torchvision unpacks them, of the right sizes: images dark but for their number."""
    raw = tmp_path_factory.mktemp("data") / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, shape in FILES.items():
        values = np.zeros(shape, np.uint8)
        number = np.arange(shape[0])
        if values.ndim == 1:
            values[:] = number % 10
        else:
            values[:, 0, 0], values[:, 0, 1] = number % 256, number // 256
        (raw / name).write_bytes(idx(values))
    return raw.parents[1]


@pytest.fixture
def copy(published: Path, tmp_path: Path) -> Path:
    """The same, to be damaged; files are links until they are replaced."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES:
        (raw / name).symlink_to(published / "FashionMNIST" / "raw" / name)
    return tmp_path


def replace(file: Path, content: bytes) -> None:
    file.unlink()
    file.write_bytes(content)


def numbers(split: datasets.Split) -> list[int]:
    """The number that each made-up image carries."""
    return (split.images[:, 0, 0, 0].int() + 256 * split.images[:, 0, 0, 1].int()).tolist()


def check_digits(data: Dataset) -> None:
    assert [len(data.train), len(data.validation), len(data.test)] == [1_297, 200, 300]


def test_an_entry_without_a_reader_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(catalogue.DATASETS, "mine", catalogue.DATASETS["digits"])
    with pytest.raises(UserError, match="mine has an entry in the catalogue but no reader"):
        datasets.load("mine")


def test_a_data_set_of_ones_own_is_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = dataclasses.replace(catalogue.DATASETS["digits"], name="mine", origin="torchvision")
    monkeypatch.setitem(catalogue.DATASETS, "mine", facts)
    assert datasets.download("mine", tmp_path) == tmp_path


# --- digits -----------------------------------------------------------------------------------


def test_digits_are_embedded_and_split_by_name(tmp_path: Path) -> None:
    data = datasets.load("digits", tmp_path / "nowhere")
    check_digits(data)
    assert data.input_shape == (1, 8, 8)
    parts = (data.train, data.validation, data.test)
    images = torch.cat([part.images for part in parts]).flatten(1)
    labels = torch.cat([part.labels for part in parts])
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert images.max() == 255
    # Every published image once, with its label.
    ours = sorted(map(tuple, torch.cat([labels[:, None], images], 1).tolist()))
    source = load_digits()
    grey = np.rint(source.images.reshape(-1, 64) * 255 / 16).astype(int)
    theirs = np.column_stack([source.target, grey])
    assert ours == sorted(map(tuple, theirs.tolist()))
    # In another order than published, where whole groups of writers lie together; ever the same.
    assert data.train.labels[:8].tolist() != source.target[:8].tolist()
    assert torch.equal(data.train.images, datasets.load("digits").train.images)
    for part in parts:
        assert (part.labels.bincount(minlength=10) > 10).all()


def test_splits_can_be_cut_and_moved() -> None:
    data = datasets.load("digits")
    fewer = data.with_train_images(100)
    assert len(fewer.train) == 100
    assert torch.equal(fewer.train.images, data.train.images[:100])
    assert len(fewer.test) == 300
    assert data.with_train_images(None) is data
    assert data.to("cpu").train.images.device.type == "cpu"
    for count in (0, -1, 1_298):
        with pytest.raises(UserError, match="must lie between 1 and the 1297 of digits"):
            data.with_train_images(count)


def test_unknown_data_sets_are_refused_with_the_known(tmp_path: Path) -> None:
    for function in (datasets.load, datasets.download):
        with pytest.raises(
            UserError, match="'svhn': choose one of digits, mnist, fashion_mnist, c"
        ):
            function("svhn", tmp_path)


# --- files in torchvision's layout ------------------------------------------------------------


def test_files_are_split_in_published_order(published: Path) -> None:
    data = datasets.load("fashion_mnist", published)
    assert data.input_shape == (1, 28, 28)
    assert numbers(data.train) == list(range(55_000))
    assert numbers(data.validation) == list(range(55_000, 60_000))
    assert numbers(data.test) == list(range(10_000))
    assert data.validation.labels.tolist() == [number % 10 for number in range(55_000, 60_000)]
    assert data.train.images.dtype == torch.uint8
    assert data.train.labels.dtype == torch.int64


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_missing_files_are_named_with_command_and_directory(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        datasets.load(name, tmp_path)
    for part in (name, str(tmp_path), f"dltlib data {name}", "DLTLIB_DATA"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_one_missing_file_is_enough(copy: Path) -> None:
    (copy / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(UserError, match="fashion_mnist is not in"):
        datasets.load("fashion_mnist", copy)


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "cut short": (IMAGES, lambda content: content[: len(content) // 2]),
    "a byte short": (IMAGES, lambda content: content[:-1]),
    "empty": (IMAGES, lambda content: b""),
    "another format": (IMAGES, lambda content: b"<html>not found</html>" * 20),
    "too few": (IMAGES, lambda content: idx(np.zeros((59_999, 28, 28), np.uint8))),
    "another size": (IMAGES, lambda content: idx(np.zeros((60_000, 14, 14), np.uint8))),
    "labels cut short": (LABELS, lambda content: content[:1_000]),
    "too few labels": (LABELS, lambda content: idx(np.zeros(59_999, np.uint8))),
    "a label too high": (LABELS, lambda content: content[:-1] + b"\x0a"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_refused_and_left_alone(copy: Path, damage: str) -> None:
    name, change = DAMAGE[damage]
    file = copy / "FashionMNIST" / "raw" / name
    replace(file, change(file.read_bytes()))
    before = hashlib.md5(file.read_bytes()).hexdigest()
    with pytest.raises(UserError, match="fashion_mnist .* are damaged") as caught:
        datasets.load("fashion_mnist", copy)
    for part in (str(copy), "dltlib data fashion_mnist", "delete them"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert hashlib.md5(file.read_bytes()).hexdigest() == before


def test_a_changed_byte_of_mnist_is_noticed_by_its_checksum(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = (copy / "FashionMNIST").rename(copy / "MNIST") / "raw"
    with pytest.raises(UserError, match="has another checksum than the published"):
        datasets.load("mnist", copy)  # the made-up images are not MNIST's
    sums = {name: hashlib.md5((raw / name).read_bytes()).hexdigest() for name in FILES}
    monkeypatch.setattr(datasets, "_MNIST_SUMS", sums)
    assert len(datasets.load("mnist", copy).train) == 55_000
    content = bytearray((raw / IMAGES).read_bytes())
    content[30_000_000] ^= 1
    replace(raw / IMAGES, bytes(content))
    with pytest.raises(UserError, match=f"damaged .{IMAGES} has another checksum"):
        datasets.load("mnist", copy)


# --- cifar10.npz ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    arrays = {}
    for part, count in (("train", 50_000), ("test", 10_000)):
        images = np.zeros((count, 32, 32, 3), np.uint8)
        images[:, 0, 0, 0], images[:, 0, 0, 1] = np.arange(count) % 256, np.arange(count) // 256
        arrays |= {f"x_{part}": images, f"y_{part}": (np.arange(count) % 10).astype(np.int32)}
    directory = tmp_path_factory.mktemp("cifar")
    np.savez_compressed(directory / "cifar10.npz", **arrays)
    return directory


def test_cifar10_can_lie_there_as_one_archive(archive: Path) -> None:
    data = datasets.load("cifar10", archive)
    assert data.input_shape == (3, 32, 32)  # channels first, though last in the archive
    assert [len(data.train), len(data.validation), len(data.test)] == [45_000, 5_000, 10_000]
    first = data.validation.images[0, :, 0, 0].tolist()
    assert first == [45_000 % 256, 45_000 // 256, 0]
    assert data.validation.labels[:3].tolist() == [0, 1, 2]
    assert data.train.images.is_contiguous()


ARCHIVES: dict[str, Callable[[Path, Path], object]] = {
    "cut short": lambda source, target: target.write_bytes(source.read_bytes()[:-1_000]),
    "empty": lambda source, target: target.write_bytes(b""),
    "no archive": lambda source, target: target.write_bytes(b"x" * 1_000),
    "an array of its own": lambda source, target: np.save(target.open("wb"), np.zeros(3)),
    "without images": lambda source, target: np.savez(target, y_train=np.zeros(50_000)),
    "too few": lambda source, target: np.savez(
        target, x_train=np.zeros((9, 32, 32, 3), np.uint8), y_train=np.zeros(9)
    ),
    "floats": lambda source, target: np.savez(
        target, x_train=np.zeros((9, 32, 32, 3)), y_train=np.zeros(9)
    ),
    "pickled": lambda source, target: np.savez(target, x_train=np.array([{}], dtype=object)),
}


@pytest.mark.parametrize("damage", ARCHIVES)
def test_a_damaged_archive_is_refused_and_no_download_tried(
    archive: Path, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "cifar10.npz"
    ARCHIVES[damage](archive / "cifar10.npz", target)
    before = target.read_bytes()
    monkeypatch.setattr(datasets, "_torchvision_class", lambda name: pytest.fail("it was tried"))
    for function in (datasets.load, datasets.download):
        with pytest.raises(UserError, match=r"cifar10 in .*cifar10.npz are damaged") as caught:
            function("cifar10", tmp_path)
        assert "\n" not in str(caught.value)
    assert target.read_bytes() == before


def test_a_changed_byte_in_the_archive_is_noticed(archive: Path, tmp_path: Path) -> None:
    content = bytearray((archive / "cifar10.npz").read_bytes())
    content[len(content) // 2] ^= 0x10
    (tmp_path / "cifar10.npz").write_bytes(content)
    with pytest.raises(UserError, match="are damaged"):
        datasets.load("cifar10", tmp_path)


# --- download ---------------------------------------------------------------------------------


@pytest.fixture
def mirror(published: Path, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A web site with the files as they are published, on this machine."""
    place = tmp_path / "site"
    place.mkdir()
    for name in FILES:
        content = (published / "FashionMNIST" / "raw" / name).read_bytes()
        (place / f"{name}.gz").write_bytes(gzip.compress(content, 1))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(place))

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", place
        server.shutdown()
        thread.join()


def use_mirror(monkeypatch: pytest.MonkeyPatch, address: str, place: Path) -> None:
    sums = [
        (file.name, hashlib.md5(file.read_bytes()).hexdigest()) for file in sorted(place.iterdir())
    ]
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", [address])
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "resources", sums)


def test_torchvision_downloads_what_is_missing(
    mirror: tuple[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """Its real code, from a mirror here."""
    use_mirror(monkeypatch, *mirror)
    directory = tmp_path / "new" / "data"
    monkeypatch.setenv("DLTLIB_DATA", str(directory))
    assert cli.main(["data", "fashion_mnist"]) == 0
    assert "55,000 training, 5,000 validation and 10,000 test images in" in capsys.readouterr().out
    assert numbers(datasets.load("fashion_mnist").test) == list(range(10_000))
    # Once it is there, nobody is asked.
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    assert cli.main(["data", "fashion_mnist"]) == 0
    assert datasets.download("fashion_mnist") == directory


def test_a_download_that_came_broken_is_an_error_of_one_line(
    mirror: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, place = mirror
    use_mirror(monkeypatch, address, place)
    file = place / f"{IMAGES}.gz"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(UserError, match="could not download fashion_mnist") as caught:
        datasets.download("fashion_mnist", tmp_path / "data")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="is not in|are damaged"):
        datasets.load("fashion_mnist", tmp_path / "data")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_no_network_is_an_error_of_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = "http://127.0.0.1:9/"  # the port "discard": nobody listens
    for source in (torchvision.datasets.MNIST, torchvision.datasets.FashionMNIST):
        monkeypatch.setattr(source, "mirrors", [nobody])
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", f"{nobody}cifar.tar.gz")
    with pytest.raises(UserError, match=f"could not download {name} to") as caught:
        datasets.download(name, tmp_path)
    assert "check the network" in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_a_directory_that_cannot_be_written_is_an_error_of_one_line(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(UserError, match=f"could not download {name} to .*can be written") as caught:
        datasets.download(name, tmp_path / "taken" / "data")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "taken").read_text() == "mine"


def test_digits_need_no_download(tmp_path: Path) -> None:
    datasets.download("digits", tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


# --- the real ones ----------------------------------------------------------------------------


def test_the_real_mnist(real_data: Path) -> None:
    data = datasets.load("mnist", real_data)
    assert [len(data.train), len(data.validation), len(data.test)] == [55_000, 5_000, 10_000]
    assert data.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    mean = data.train.images[:5_000].double().mean().item() / 255
    assert mean == pytest.approx(0.1307, abs=0.005)


def test_a_flipped_byte_of_the_real_mnist(real_data: Path, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES:
        shutil.copyfile(real_data / "MNIST" / "raw" / name, raw / name)
    content = bytearray((raw / "t10k-images-idx3-ubyte").read_bytes())
    content[-1] ^= 1
    (raw / "t10k-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(UserError, match="damaged .t10k-images-idx3-ubyte has another checksum"):
        datasets.load("mnist", tmp_path)


def test_the_real_cifar10(real_data: Path) -> None:
    data = datasets.load("cifar10", real_data)
    assert [len(data.train), len(data.validation), len(data.test)] == [45_000, 5_000, 10_000]
    assert data.test.labels.bincount().tolist() == [1_000] * 10
    labels = torch.cat([data.train.labels, data.validation.labels])
    assert labels.bincount().tolist() == [5_000] * 10
    mean = data.train.images[:5_000].double().mean((0, 2, 3)) / 255
    assert mean.tolist() == pytest.approx([0.491, 0.482, 0.447], abs=0.01)


def test_cifar10_in_torchvisions_files_is_the_archives(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same images, written as the five batches that torchvision reads."""
    import pickle

    source = torchvision.datasets.CIFAR10
    with np.load(real_data / "cifar10.npz") as arrays:
        parts = {part: (arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in ("train", "test")}
    folder = tmp_path / source.base_folder
    folder.mkdir()
    lists = {}
    for part, files in (("train", source.train_list), ("test", source.test_list)):
        lists[part] = [[name, None] for name, _ in files]  # other pickles, other checksums
        for index, (name, _) in enumerate(files):
            own = slice(10_000 * index, 10_000 * (index + 1))
            pixels = parts[part][0][own].transpose(0, 3, 1, 2).reshape(10_000, -1)
            labels = parts[part][1][own].ravel().tolist()
            (folder / name).write_bytes(pickle.dumps({"data": pixels, "labels": labels}))
    meta = {"label_names": list("abcdefghij")}
    (folder / source.meta["filename"]).write_bytes(pickle.dumps(meta))
    monkeypatch.setattr(source, "train_list", lists["train"])
    monkeypatch.setattr(source, "test_list", lists["test"])
    monkeypatch.setattr(source, "meta", source.meta | {"md5": None})
    ours, theirs = datasets.load("cifar10", tmp_path), datasets.load("cifar10", real_data)
    for split in ("train", "validation", "test"):
        one, other = getattr(ours, split), getattr(theirs, split)
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.labels, other.labels)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": (1, 8, 9)}, r"train, images \(1297, 1, 8, 8\)"),
        ({"classes": 9}, "train, labels outside 0-8"),
    ],
)
def test_what_a_reader_gives_is_held_to_its_entry(
    change: dict, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = dataclasses.replace(catalogue.DATASETS["digits"], **change)
    monkeypatch.setitem(catalogue.DATASETS, "digits", facts)
    with pytest.raises(UserError, match=f"digits is not what its entry says: {said}"):
        datasets.load("digits")

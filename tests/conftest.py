"""What the tests share: places of their own, the built site, a browser, real data where it is.

Environment: DLTLIB_TEST_DATA names a directory with MNIST/raw and cifar10.npz, and the tests on
real images run; DLTLIB_REQUIRE_BROWSER=1 makes a missing browser a failure, not a skip.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from jaxtyping import install_import_hook

# Shapes and types in signatures are checked at every call that a test makes. The kernel is left
# out: numba reads its own types.
install_import_hook(
    [
        f"dltlib.{name}"
        for name in (
            "actions", "criteria", "datasets", "experiments", "fingerprints", "forecast",
            "history", "kinds", "networks", "parallel", "plans", "pruning", "randomness",
            "registry", "runs", "supermasks", "training",
        )
    ],
    "beartype.beartype",
)  # fmt: skip

# Derandomised: a push fails for what it changed. Set HYPOTHESIS_PROFILE=explore to search on.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

sys.path.insert(0, str(Path(__file__).parent))  # for browser.py and reference.py


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where pytest-xdist divides the tests among processes, a module stays in one, and so do all
    that read the built site: it is built once."""
    for item in items:
        group = "site" if "site" in getattr(item, "fixturenames", ()) else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session", autouse=True)
def _own_places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test writes runs or records into the checkout, or downloads data into it."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("DLTLIB_RUNS", "DLTLIB_RECORDS", "DLTLIB_DATA"):
            patch.setenv(variable, str(tmp_path_factory.mktemp(variable.lower())))
        yield


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small operations in one thread: where others are at work, threads stall one another."""
    import reference

    with reference.one_thread():
        yield


@pytest.fixture
def generator() -> Any:
    """Of random numbers, the same in every test."""
    import torch

    return torch.Generator().manual_seed(5)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The directory with MNIST/raw and cifar10.npz, or the test is skipped."""
    named = os.environ.get("DLTLIB_TEST_DATA")
    if not named:
        pytest.skip("DLTLIB_TEST_DATA names no directory with MNIST and CIFAR-10")
    return Path(named).expanduser().resolve()


@pytest.fixture(scope="session")
def site() -> Path:
    """The directory of the book's pages, built now where they are not up to date."""
    from dltlib import book

    return book.build().parent


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A running browser, or the test is skipped and says so."""
    import browser

    if browser.executable() is None:
        complaint = "no Chromium found (apt-get install chromium, or name one in DLTLIB_BROWSER)"
        if os.environ.get("DLTLIB_REQUIRE_BROWSER"):
            pytest.fail(complaint)
        pytest.skip(complaint)
    with browser.chromium() as running:
        yield running

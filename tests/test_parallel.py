"""Spreading work over threads: each item once, and torch's threads as they were, whoever meets."""

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from dltlib import parallel


@pytest.fixture(autouse=True)
def _four_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_every_item_is_done_once_in_a_thread_of_its_own_operations() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        assert torch.get_num_threads() == 1
        done.append(item)

    parallel.spread(work, range(50))
    assert sorted(done) == list(range(50))
    assert torch.get_num_threads() == 4


def test_two_callers_that_meet_leave_all_threads_there() -> None:
    """Whichever of them ends first."""
    for naps in ((0.01, 0.05), (0.05, 0.01)):
        left = {}

        def call(name: int, nap: float, left: dict = left) -> None:
            parallel.spread(lambda _: time.sleep(nap), range(6))
            left[name] = torch.get_num_threads()

        threads = [threading.Thread(target=call, args=(name, nap)) for name, nap in enumerate(naps)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert left == {0: 4, 1: 4}
        assert torch.get_num_threads() == 4
        seen = []
        late = threading.Thread(target=lambda seen=seen: seen.append(torch.get_num_threads()))
        late.start()
        late.join()
        assert seen == [4]


def test_a_call_from_within_stays_in_its_thread() -> None:
    seen: set[tuple[int, int]] = set()

    def outer(item: int) -> None:
        parallel.spread(lambda _: seen.add((item, threading.get_ident())), range(5))

    parallel.spread(outer, range(4))
    assert len(seen) == 4  # one thread for all of an item's inner ones
    assert torch.get_num_threads() == 4


def test_an_error_is_passed_on_and_the_threads_are_put_back() -> None:
    def fail(item: int) -> None:
        raise ValueError(f"item {item}")

    for items in ([0], [0, 1, 2]):
        with pytest.raises(ValueError, match="item 0"):
            parallel.spread(fail, items)
        assert torch.get_num_threads() == 4
        parallel.spread(lambda _: None, [1])  # nobody is left marked busy
        assert torch.get_num_threads() == 4

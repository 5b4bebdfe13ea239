"""The benchmark: that both sides do the same work, what is made of times, and what is quoted."""

import itertools
import re
from pathlib import Path

import pandas as pd
import pytest
import reference
import torch

from dltlib import bench, cli, networks
from dltlib.errors import UserError
from dltlib.training import Settings

ROOT = Path(__file__).parent.parent
COMMITTED = ROOT / "book" / "records" / "bench.json"
SETTINGS = Settings(epochs=1, learning_rate=1.2e-3, batch_size=20)


def case(part: str, way: str, round_: int, times: list[float], **more: object) -> dict[str, object]:
    facts = {"part": part, "way": way, "network": "fc", "width": 1.0, "round": round_}
    facts |= {"density": 0.8**round_, "operations": 6e6, "bytes": 2e6, "replicas": 1}
    return facts | more | {"iterations": 10, "milliseconds": times}


CASES = [
    case("fc", "engine", 0, [1.0, 2.0, 1.0]),
    case("fc", "plain", 0, [3.0, 4.0, 5.0]),
    case("fc", "engine", 2, [0.5, 0.5, 0.5], replicas=18),
    case("fc", "plain", 2, [4.0, 4.0, 4.0]),
    case("peaks", "matrix product", 0, [2.0, 1.0], operations=2e7, bytes=0.0),
    case("peaks", "copy", 0, [1.0, 2.0], operations=0.0, bytes=1e7),
]
FACTS = {
    "device": "made up",
    "busy_with_others": 0.0,
    "data": "mnist",
    "versions": {"torch": "2", "numba": "0"},
    "finished": "2026-01-01T00:00:00",
    "commit": "0123456789abcdef",
    "command": "dltlib bench",
    "slice": {"iterations": 100, "epoch_seconds": [2.0, 4.0], "other_seconds": [1.0, 1.0, 1.0]},
}


@pytest.fixture
def made_up(tmp_path: Path) -> bench.Bench:
    bench.write(tmp_path / "bench.json", FACTS, CASES)
    return bench.read(tmp_path / "bench.json")


def test_ratios_are_taken_within_a_repetition(made_up: bench.Bench) -> None:
    table = bench.ratios(made_up).set_index("round")
    # 3/1, 4/2 and 5/1: the ratio of the medians would be 4.
    assert table.loc[0, "median"] == pytest.approx(3)
    assert table.loc[0, ["low", "high"]].tolist() == pytest.approx([2.2, 4.6])
    assert table.loc[2, "median"] == pytest.approx(8)


def test_shares_of_the_peaks_that_were_seen(made_up: bench.Bench) -> None:
    assert bench.peaks(made_up) == pytest.approx({"operations": 2e10, "bytes": 1e10})
    shares = bench.shares_of_peak(made_up, "fc").set_index(["way", "round"])
    assert shares.loc[("engine", 0), "matrix_share"] == pytest.approx(0.3)
    assert shares.loc[("engine", 0), "memory_share"] == pytest.approx(0.2)
    assert shares.loc[("engine", 2), "replicas"] == 18


def test_an_arm_is_a_sum_over_rounds(made_up: bench.Bench) -> None:
    # The round between those measured lies half-way.
    assert bench.arm_ratio(made_up, rounds=2) == pytest.approx(12.0 / (1.0 + 0.75 + 0.5))


def test_hours_are_seeds_times_epochs_and_what_is_done_once(made_up: bench.Bench) -> None:
    assert bench.programme_hours(made_up, seeds=2, epochs=10) == pytest.approx(
        2 * (10 * 6 + 3) / 3600
    )


def test_turns_are_taken_and_counted() -> None:
    done: list[str] = []

    def run(name: str):
        return lambda iterations: done.extend([name] * iterations)

    cases = [bench.Case({"way": way}, run(way), replicas) for way, replicas in (("a", 1), ("b", 4))]
    rows = bench.take_turns(cases, repetitions=3, seconds=1e-5)
    assert [(row["way"], row["replicas"]) for row in rows] == [("a", 1), ("b", 4)]
    assert all(len(row["milliseconds"]) == 3 for row in rows)
    turns = [name for name, before in zip(done, [None, *done], strict=False) if name != before]
    assert turns[-6:] == ["a", "b"] * 3
    assert done.count("a") >= 3 * rows[0]["iterations"]


def test_arithmetic_counts_what_survives() -> None:
    fc = networks.build("fc", (1, 28, 28))
    masks = [torch.ones(1, *layer.shape, dtype=torch.bool) for layer in fc.layers]
    dense = bench.arithmetic(fc, masks, 60)
    assert dense == 60 * 2 * (2 * 784 * 300 + 3 * (300 * 100 + 100 * 10))
    masks[0][:, ::2] = False
    assert bench.arithmetic(fc, masks, 60) == dense - 60 * 2 * 2 * 392 * 300
    conv = networks.build("conv4", (3, 32, 32))
    masks = [torch.ones(2, *layer.shape, dtype=torch.bool) for layer in conv.layers]
    # By hand: 3x3 kernels at 32x32, 32x32, 16x16 and 16x16 positions, then the dense layers.
    forward = 9 * (3 * 64 * 1024 + 64 * 64 * 1024 + 64 * 128 * 256 + 128 * 128 * 256)
    forward += 8192 * 256 + 256 * 256 + 256 * 10
    assert bench.arithmetic(conv, masks, 1) == 2 * (3 * forward - 9 * 3 * 64 * 1024)


def tickets(name: str, shape: tuple[int, int, int], width: float):
    network = networks.build(name, shape, width)
    weights = networks.initial_weights(network, [0, 1])
    generator = torch.Generator().manual_seed(0)
    masks = [torch.rand(weight.shape, generator=generator) < 0.5 for weight in weights]
    weights = [weight * mask for weight, mask in zip(weights, masks, strict=True)]
    return network, weights, masks


@pytest.mark.parametrize(("name", "shape"), [("fc", (1, 8, 8)), ("conv2", (3, 8, 8))])
def test_both_sides_do_the_same_work(name: str, shape: tuple[int, int, int], one_thread) -> None:
    network, weights, masks = tickets(name, shape, 0.125)
    split = reference.dataset(shape).train
    step = bench.engine(network, weights, masks, SETTINGS, split, [0, 1])(17)
    images = split.images.float() / 255
    for options in ({}, {"fused": True}, {"memory_format": torch.channels_last}):
        module = bench.plain_loop(
            network, weights, masks, SETTINGS, images, split.labels, **options
        )(17)
        for ours, mask, theirs in zip(
            step.parameters()[0], masks, reference.weights_of(module), strict=True
        ):
            assert torch.equal(theirs == 0, ~mask[0])
            assert (ours[0] - theirs).abs().max() < 1e-4
            assert (ours[1] - theirs).abs().max() > 1e-2, "seed 1 is another network"


def test_quick_benchmark_leaves_a_whole_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, one_thread
) -> None:
    monkeypatch.setenv("DLTLIB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("DLTLIB_RECORDS", str(tmp_path / "records"))
    assert cli.main(["bench", "--quick"]) == 0
    printed = capsys.readouterr()
    assert "engine" in printed.out
    assert not printed.err
    assert not list((tmp_path / "records").glob("*")), "a quick run is no record of the book"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["bench.json"]

    found = bench.read(tmp_path / "runs" / "bench.json")
    assert (found.table["milliseconds"] > 0).all()
    assert set(found.table["part"]) >= {"fc", "replicas", "width", "peaks", bench.LEARNED}
    convolutions = [f"{name}, width 0.0625" for name in ("conv2", "conv4", "conv6")]
    assert bench.conv_parts(found) == convolutions
    for part in ("fc", *convolutions):
        for against in ("plain", "plain, fused"):
            rounds = bench.ratios(found, part, against=against)["round"]
            assert set(rounds) == set(bench.QUICK.rounds)
    assert bench.all_ratios(found)["conv6, width 0.0625, round 10"] > 0
    assert not (found.table["part"] == "gpu").any(), "that is a record of its own"
    assert printed.out.count("fused Adam") == len(bench.QUICK.rounds) + len(convolutions)
    assert found.facts["threads"] == 1
    assert len(found.facts["slice"]["arms"]) == 9 + 6 + 4, "the standard ticket counts once"
    memory = found.facts["memory"]
    assert 0 < memory["data, engine"] < memory["data, plain"]
    # Megabytes: at least weight, start, best and two moments of 266,610 parameters, when dense.
    assert 5 * 4 * 0.26661 < memory["replica, round 0"] < 20
    assert memory["replica, round 15"] < memory["replica, round 0"] / 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cases": []}', '{"cases": [{"part": "fc"}]}'])
def test_damaged_records_give_one_clear_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "bench.json").write_text(text)
    with pytest.raises(UserError, match="damaged"):
        bench.read(tmp_path / "bench.json")
    with pytest.raises(UserError, match="dltlib bench"):
        bench.read(tmp_path / "nowhere.json")


def test_random_images_are_as_dark_as_mnist() -> None:
    data, name = bench.load_images(bench.QUICK)
    lit = (data.train.images > 0).float().mean(0)[0]
    assert lit.mean().item() == pytest.approx(bench.LIT["mnist"], abs=0.02)
    assert lit[14, 14] > lit[2, 14] >= lit[0, 0] == 0
    assert "random" in name
    data, name = bench.load_images(bench.QUICK, "cifar10")
    assert data.input_shape == (3, 32, 32)
    assert (data.train.images > 0).float().mean().item() == pytest.approx(0.995, abs=0.002)


# --- the committed record ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def committed() -> bench.Bench:
    return bench.read(COMMITTED)


@pytest.mark.parametrize(("round_", "least"), [(0, 1.7), (7, 4), (15, 10), (21, 20)])
def test_committed_ratios_reach_what_is_promised(
    committed: bench.Bench, round_: int, least: float
) -> None:
    assert bench.ratios(committed).set_index("round").loc[round_, "median"] >= least


@pytest.mark.parametrize("width", [0.25, 1.0])
@pytest.mark.parametrize(
    ("name", "least"),
    [("conv2", (1.3, 3, 6)), ("conv4", (1.2, 2.5, 5)), ("conv6", (1.2, 2.5, 5))],
)
def test_committed_convolutions_are_faster_the_sparser(
    committed: bench.Bench, name: str, least: tuple[float, ...], width: float
) -> None:
    found = bench.ratios(committed, bench.conv_part(name, width)).set_index("round")["median"]
    assert (found[list(bench.CONV_ROUNDS)] >= list(least)).all()


def test_committed_record_says_where_it_comes_from(committed: bench.Bench) -> None:
    assert committed.facts["command"] == "dltlib bench"
    assert "/" not in committed.facts["device"]
    for fact in (committed.facts["device"], committed.facts["commit"][:10], "Remake"):
        assert fact in committed.provenance()
    assert set(bench.ratios(committed)["round"]) >= set(bench.ROUNDS)
    assert bench.programme_hours(committed) < 6


def _ranged(row: pd.Series, decimals: int = 2) -> str:
    """A median with its range, as the README has it."""
    median, low, high = (f"{row[name]:.{decimals}f}" for name in ("median", "low", "high"))
    return f"{median} ({low}–{high})"


def test_readme_quotes_the_record(committed: bench.Bench) -> None:
    section = re.search(r"^## How fast\n(.*?)^## ", (ROOT / "README.md").read_text(), re.S | re.M)
    assert section, "the README has a section on speed"
    times = bench.times(committed, "fc").set_index(["round", "way"])["median"]
    fused = bench.ratios(committed, against="plain, fused").set_index("round")
    found = bench.ratios(committed).set_index("round")
    for round_ in bench.ROUNDS:
        row, ours, plain = found.loc[round_], times[round_, "engine"], times[round_, "plain"]
        assert (
            f"| {row['density']:.2f} | {ours:.2f} | {plain:.2f} | {_ranged(row, 1)} "
            f"| {_ranged(fused.loc[round_], 1)} |\n"
        ) in section[1]
    assert f"{bench.arm_ratio(committed):.0f} times" in section[1]
    assert f"{bench.programme_hours(committed):.1f} hours" in section[1]
    gains, fused = (
        bench.conv_ratios(committed, against).set_index(["network", "width", "round"])
        for against in ("plain", "plain, fused")
    )
    for name, width in itertools.product(("conv2", "conv4", "conv6"), bench.FULL.conv_widths):
        cells = " | ".join(
            f"{_ranged(gains.loc[name, width, round_])}; {_ranged(fused.loc[name, width, round_])}"
            for round_ in bench.CONV_ROUNDS
        )
        assert f"| {name.capitalize()} | {width:g} | {cells} |\n" in section[1]
    for width in bench.FULL.conv_widths:
        part = bench.conv_part("conv2", width)
        assert f"{bench.arm_ratio(committed, part):.1f} times at width {width:g}" in section[1]


# --- a GPU's --------------------------------------------------------------------------------------

# On an H100: microseconds of one of 64 or more FC replicas, and what a convolution's bf16 reach.
GPU_GOALS = {"fc": 5.0, "TFLOP/s": 250.0}


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_gpu_that_is_not_there_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("DLTLIB_RECORDS", str(tmp_path / "records"))
    assert cli.main(["bench", "--gpu"]) != 0
    assert "torch sees no CUDA GPU here" in capsys.readouterr().err
    assert not (tmp_path / "records").exists()


def test_the_gpus_cases_are_laid_out_without_one() -> None:
    """Made on the CPU and not run: networks, replicas, and what each iteration multiplies."""
    grey, colours = reference.dataset((1, 28, 28)), reference.dataset((3, 32, 32))
    cases = bench.gpu_cases(grey, colours, SETTINGS, bench.QUICK, torch.device("cpu"))
    laid_out = [(case.facts["network"], case.facts["way"], case.replicas) for case in cases]
    assert {row for row in laid_out if row[2] > 1 and row[1] == "engine"} == {
        *(("fc", "engine", count) for count in (16, 64, 128)),
        *((name, "engine", count) for name in ("conv2", "conv6") for count in (8, 32)),
    }
    for way in ("plain", "plain, fused"):
        assert {row[0] for row in laid_out if row[1] == way} == {"fc", "conv2", "conv6"}
    assert all(case.facts["operations"] > 0 for case in cases)


def test_a_gpus_record_is_told_in_microseconds_and_teraflops(tmp_path: Path) -> None:
    cases = [case("gpu", "engine", 0, [0.004, 0.005, 0.006], replicas=64, operations=1e9)]
    bench.write(tmp_path / "bench-gpu.json", FACTS | {"device": "a GPU"}, cases)
    found = bench.read(tmp_path / "bench-gpu.json")
    (row,) = bench.gpu_speeds(found).itertuples()
    assert row.microseconds == pytest.approx(5)
    assert row.teraflops == pytest.approx(200)
    title, line = bench.describe(found)
    assert "a GPU" in title
    assert "64 replicas: 5.00 us per replica and iteration, 200.0 TFLOP/s" in line


@pytest.mark.skipif(
    not (committed_gpu := COMMITTED.with_name("bench-gpu.json")).exists(),
    reason="no GPU has been measured",
)
def test_the_gpus_record_reaches_its_goals() -> None:
    speeds = bench.gpu_speeds(bench.read(committed_gpu))
    ours = speeds[speeds["way"] == "engine"]
    best = ours.groupby("network")
    assert best["microseconds"].min()["fc"] <= GPU_GOALS["fc"]
    assert (best["teraflops"].max()[["conv2", "conv6"]] >= GPU_GOALS["TFLOP/s"]).all()

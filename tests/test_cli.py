"""The command line: quick to answer, one line for a mistake, and it goes on where it stopped."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dltlib
from dltlib import actions, catalogue, cli, criteria, experiments, records, storage, training
from dltlib.errors import UserError
from dltlib.settings import PRECISIONS

QUICK = [
    *("--seeds", "1", "--rounds", "1", "--epochs", "1", "--width", "0.05"),
    *("--train-images", "120", "--evaluate-every", "5", "--arms", "large_final", "random"),
]


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("runs", "records", "data"):
        monkeypatch.setenv(f"DLTLIB_{name.upper()}", str(tmp_path / name))


# --- start-up ---------------------------------------------------------------------------------


def test_help_answers_at_once_and_without_torch() -> None:
    program = (
        "import sys, dltlib.cli\n"
        "try: dltlib.cli.main(['--help'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'numpy', 'pandas', 'numba', 'matplotlib', 'torchvision', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    seconds = []  # of processor time: others may be at work on this machine
    for _ in range(3):
        before = os.times()
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        after = os.times()
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "[]"
        assert "run an experiment" in done.stdout
        seconds.append(after.children_user + after.children_system)
        seconds[-1] -= before.children_user + before.children_system
    assert min(seconds) < 0.5


def test_importing_the_package_imports_nothing() -> None:
    program = "import sys, dltlib; print('torch' in sys.modules, len(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split()[0] == "False"


@pytest.mark.parametrize("command", ["run", "status", "data", "claims", "book"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 0
    assert f"usage: dltlib {command}" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"dltlib {dltlib.__version__}\n"


def test_help_lists_every_option_that_a_plan_has(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for name in ("arms", *cli.OVERRIDES):
        assert f"--{name.replace('_', '-')} " in text
    for choices in (
        catalogue.EXPERIMENTS,
        catalogue.NETWORKS,
        catalogue.PRESETS,
        catalogue.DATASETS,
    ):
        assert all(choice in text for choice in choices)
    for choice in PRECISIONS:
        assert choice in text


# --- mistakes ---------------------------------------------------------------------------------

MISTAKES = {
    "run criterion": "unknown experiment 'criterion': choose one of criteria, signs, zeros",
    "run criteria --network vgg": "unknown network 'vgg': choose one of fc, conv2, conv4, conv6",
    "run criteria --preset big": "unknown preset 'big': choose one of paper, cpu, tiny",
    "run criteria --dataset svhn": "unknown data set 'svhn': choose one of digits, mnist",
    "run criteria --arms best": "unknown criterion 'best': choose one of large_final, small_final",
    "run criteria --arms random/undo": "unknown mask-1 action 'undo': choose one of rewind, reinit",
    "run criteria --arms random/rewind/one": "unknown mask-0 action 'one': choose one of zero",
    "run supermasks --arms random/two": "values are one of initial, constant",
    "run learned_supermasks --arms random": "the source one of learned, learned_identity, not",
    "run criteria --precision int8": "unknown precision 'int8': choose one of fp32, tf32, bf16",
    "run criteria --device tpu": "unknown device 'tpu': choose one of auto, cpu, cuda",
    "run criteria --seeds 0": "seeds must be at least 1, not 0",
    "run criteria --seeds two": "argument --seeds: invalid int value: 'two'",
    "run criteria --rounds -1": "rounds must not be negative",
    "run criteria --epochs 0": "epochs must be at least 1",
    "run criteria --learning-rate nan": "learning_rate must be a positive number",
    "run criteria --width 0": "width must be a positive number",
    "run criteria --keep-dense 1.5": "keep_dense must lie in (0, 1]",
    "run criteria --batch-size 0": "batch_size must be at least 1",
    "run criteria --batch-size 5000": "less than one batch of 5000",
    "run criteria --train-images 0": "train_images must be at least 1",
    "run criteria --train-images 5000": "between 1 and the 1297 of digits",
    "run criteria --evaluate-every 0": "evaluate_every must be at least 1",
    "run criteria --at-once 0": "(--at-once) must be at least 1",
    "run criteria --dataset mnist": "run 'dltlib data mnist' to download it",
    "run": "the following arguments are required: experiment",
    "run criteria --colour red": "unrecognized arguments: --colour red",
    "data svhn": "unknown data set 'svhn': choose one of digits, mnist, fashion_mnist, cifar10",
    "train": "invalid choice: 'train' (choose from",
    "": "the following arguments are required: COMMAND",
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(
    mistake: str, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    assert cli.main(mistake.split()) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("dltlib: error: ")
    assert output.err.count("\n") == 1
    assert MISTAKES[mistake] in output.err
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["run", "criteria", "--device", "cuda"]) == 2
    assert "torch sees no CUDA GPU here" in capsys.readouterr().err


def test_a_mistake_ends_a_real_process_with_status_2() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dltlib.cli", "run"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("dltlib: error: ")
    assert done.stderr.count("\n") == 1


# --- running ----------------------------------------------------------------------------------


def test_a_run_shows_its_progress_leaves_a_record_and_says_when_it_is_finished(
    capsys: pytest.CaptureFixture,
) -> None:
    assert cli.main(["run", "criteria", *QUICK]) == 0
    output = capsys.readouterr()
    first, *told = output.out.splitlines()
    name, path = first.split(": ")
    some = experiments.plan(
        "criteria", seeds=1, rounds=1, epochs=1, width=0.05, train_images=120, evaluate_every=5,
        arms=("large_final", "random"),
    )  # fmt: skip
    assert name == experiments.name(some)
    assert Path(path) == storage.record_path(some)
    record = records.read(experiments.name(some), Path(path).parent)
    assert record.manifest["command"] == experiments.command(some)
    assert len(record.table) == 4
    assert [line.split(": ")[1] for line in told] == [
        "large_final/rewind/zero",
        "random/rewind/zero",
    ]
    random = record.table[
        (record.table["arm"] == "random/rewind/zero") & (record.table["round"] == 1)
    ]
    assert f"{random.test_accuracy.item():.1%}" in told[1]
    for word in ("round 1/1", "validation", "100%", "it/s", "<"):  # "<": time left
        assert word in output.err, output.err
    assert cli.main(["run", "criteria", *QUICK, "--quiet"]) == 0
    output = capsys.readouterr()
    assert output.out == f"{name}: finished already, {path} (--force reruns it)\n"
    assert output.err == ""
    before = Path(path).read_bytes()
    assert cli.main(["run", "criteria", *QUICK, "--quiet", "--force", "--at-once", "1"]) == 0
    output = capsys.readouterr()
    assert output.out == f"{name}: {path}\n"
    assert output.err == ""
    assert Path(path).read_bytes() == before


def test_a_run_of_ones_own_is_listed_and_verified_by_its_name(
    capsys: pytest.CaptureFixture,
) -> None:
    assert cli.main(["run", "criteria", *QUICK]) == 0
    name = capsys.readouterr().out.split(":")[0]
    assert cli.main(["status"]) == 0
    own = capsys.readouterr().out.partition("runs of your own")[2]
    assert f"  {name}: " in own.partition("unfinished")[0]
    assert cli.main(["verify", name, "--quiet"]) == 0
    assert capsys.readouterr().out.startswith(f"{name}: holds")
    assert cli.main(["verify", name[:-1], "--quiet"]) == 2
    assert "no record" in capsys.readouterr().err


def test_arms_lists_the_parts_with_what_they_do_and_ones_own(
    capsys: pytest.CaptureFixture,
) -> None:
    @criteria.criterion("|w_i|^3")
    def cubed(history):
        """Large before training, once more."""
        return history.initial.abs() ** 3

    try:
        assert cli.main(["arms"]) == 0
    finally:
        del criteria.CRITERIA["cubed"]
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line[:1]]
    told = {line[0]: line[1] for line in lines if len(line) > 1}
    assert told["cubed"] == "Large before training, once more."
    every = (criteria.CRITERIA, actions.MASK1_ACTIONS, actions.MASK0_ACTIONS)
    assert all(told[name] for parts in every for name in parts)


def test_an_option_is_not_taken_for_half_of_its_name(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["run", "criteria", "--epoch", "3"]) == 2
    assert "unrecognized arguments: --epoch 3 (see dltlib run --help)" in capsys.readouterr().err


def test_a_dry_run_says_what_is_there_already(capsys: pytest.CaptureFixture) -> None:
    command = ["run", "criteria", *QUICK]
    assert cli.main([*command, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "done" not in out
    assert "already" not in out
    assert cli.main([*command, "--quiet"]) == 0
    capsys.readouterr()
    assert cli.main([*command, "--dry-run"]) == 0
    assert "done: " in capsys.readouterr().out
    assert cli.main([*command, "--force", "--dry-run"]) == 0
    assert "done: " not in capsys.readouterr().out
    assert cli.main([*command, "--seeds", "3", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "2 of the replicas are in records already (criteria-fc-tiny-" in out
    every, left = re.search(
        r" ([\d,]+) training iterations.* ([\d,]+) iterations are to be", out, re.DOTALL
    ).groups()
    assert int(left) == int(every) * 2 / 3


def test_a_device_that_is_not_there_is_refused_though_nothing_is_left_to_do(
    capsys: pytest.CaptureFixture,
) -> None:
    assert cli.main(["run", "criteria", *QUICK, "--quiet"]) == 0
    assert cli.main(["run", "criteria", *QUICK, "--device", "tpu"]) == 2
    assert "unknown device 'tpu'" in capsys.readouterr().err


def test_the_nearest_name_is_told(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["run", "critera"]) == 2
    assert "(nearest: criteria)" in capsys.readouterr().err


def test_a_late_iteration_is_checked_before_anything_runs(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["run", "signs", "--arms", "large_final/rewind@5000", "--dry-run"]) == 2
    assert "weights can be kept at iterations 1 to 147" in capsys.readouterr().err


def test_status_lists_records_and_unfinished_runs(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert cli.main(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"records in {tmp_path / 'records'}:" in lines[0]
    assert not any(str(tmp_path / "runs") in line for line in lines)  # no heading over nothing

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(storage, "finish", interrupt)
        assert cli.main(["run", "criteria", *QUICK, "--quiet"]) == 130
    error = capsys.readouterr().err
    assert error == "dltlib: stopped; the same command goes on from here\n"
    assert cli.main(["status"]) == 0
    assert "finished" in capsys.readouterr().out.splitlines()[-1]
    with monkeypatch.context() as patch:
        patch.setattr(training, "train", interrupt)  # nothing is left to train
        assert cli.main(["run", "criteria", *QUICK, "--quiet"]) == 0
        capsys.readouterr()
        assert cli.main(["run", "criteria", *QUICK, "--quiet", "--force"]) == 130
    assert "begins anew, without --force it goes on" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_what_nohup_ignores_stays_ignored(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long run that was begun under nohup survives the end of the session."""
    heard = []
    monkeypatch.setattr(
        storage, "status", lambda: heard.append(signal.getsignal(number)) or ["nothing"]
    )
    before = signal.signal(number, signal.SIG_IGN)
    try:
        assert cli.main(["status"]) == 0
        assert signal.getsignal(number) is signal.SIG_IGN
        signal.signal(number, signal.SIG_DFL)
        assert cli.main(["status"]) == 0
    finally:
        signal.signal(number, before)
    ignored, heeded = heard
    assert ignored is signal.SIG_IGN
    assert callable(heeded)


def test_a_device_is_refused_by_name_before_a_worker_is_asked(
    capsys: pytest.CaptureFixture,
) -> None:
    assert cli.main(["run", "criteria", "--dask", "local", "--device", "gpu"]) == 2
    assert "unknown device 'gpu': choose one of auto, cpu, cuda" in capsys.readouterr().err


def test_status_says_the_preset_of_the_largest_record_whatever_its_name(
    capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    def grid() -> list[str]:
        assert cli.main(["status"]) == 0
        lines = capsys.readouterr().out.splitlines()
        return next(line for line in lines if line.startswith("  zeros ")).split()[1:]

    plan = experiments.plan("zeros", "conv2", "cpu", seeds=1, width=0.125)
    name = f"zeros-conv2-cpu-{plan.hash}"
    row = {"seed": 0, "round": 0, "density": 1.0, "test_accuracy": 0.5}
    rows = [row | {"arm": arm} for arm in plan.arms]
    facts = {"seconds": 1.0, "device": "cpu", "command": ""}
    table = records.write(tmp_path / "records", name, rows, plan.as_dict(), **facts)
    assert grid() == ["-", "cpu", "-", "-"]
    table.write_bytes(b"cut short")
    assert grid() == ["-", "damaged", "-", "-"]


def test_data_says_what_is_there(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    assert cli.main(["data", "digits"]) == 0
    expected = "digits: 1,297 training, 200 validation and 300 test images in scikit-learn\n"
    assert capsys.readouterr().out == expected
    assert cli.main(["data"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] + "\n" == expected
    assert len(lines) == len(catalogue.DATASETS)
    assert f"mnist is not in {tmp_path / 'data'}: run 'dltlib data mnist'" in lines[1]


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    """`dltlib data | head -0`, say."""
    process = subprocess.Popen(
        [sys.executable, "-m", "dltlib.cli", "status"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(60) == 0


def test_user_errors_are_value_errors() -> None:
    assert issubclass(UserError, ValueError)

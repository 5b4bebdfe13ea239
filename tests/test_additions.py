"""One of each from outside the package, without editing it: how the library is extended.

Written in a test, in the cells of the chapter *Your own ablation*, and in a package that is
installed.
"""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import jupytext
import pandas as pd
import pytest
import torch
from matplotlib.text import Text

from dltlib import (
    actions,
    catalogue,
    claims,
    criteria,
    datasets,
    experiments,
    figures,
    kinds,
    page,
    paths,
    records,
    registry,
    runs,
)
from dltlib.catalogue import Architecture, DataSource, Experiment
from dltlib.claims import Comparison, claim, ticket
from dltlib.errors import UserError
from dltlib.kinds import rows, tickets
from dltlib.kinds.kind import Kind
from dltlib.registry import Registry

REGISTRIES: tuple[Registry, ...] = (
    catalogue.NETWORKS,
    catalogue.DATASETS,
    catalogue.EXPERIMENTS,
    criteria.CRITERIA,
    actions.MASK1_ACTIONS,
    actions.MASK0_ACTIONS,
    kinds.KINDS,
    claims.CLAIMS,
)


@pytest.fixture(autouse=True)
def _put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DLTLIB_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("DLTLIB_RECORDS", str(tmp_path / "records"))
    before: list[Mapping] = [dict(registry) for registry in REGISTRIES]
    readers, styles = dict(datasets._READERS), dict(figures.STYLES)
    yield
    for values, content in zip(REGISTRIES, before, strict=True):
        values.clear()
        values.update(content)
    datasets._READERS.clear()
    datasets._READERS.update(readers)
    figures.STYLES.clear()
    figures.STYLES.update(styles)


def striped(directory: Path) -> datasets.Dataset:
    """Twelve-pixel images of three kinds, told apart by which row is lit."""
    labels = torch.arange(90) % 3
    images = torch.zeros(90, 1, 3, 4, dtype=torch.uint8)
    images[torch.arange(90), 0, labels] = 200
    whole = datasets.Split(images, labels)
    return datasets.Dataset("striped", whole.first(60), whole.first(15), whole.first(30))


def test_one_of_each_from_outside() -> None:
    @criteria.criterion(r"|w_f|^2 - |w_i|^2")
    def energy_gained(history):
        return history.final**2 - history.initial**2

    @actions.mask1_action
    def halved(history):
        return history.initial / 2

    actions.MASK0_ACTIONS.add(actions.Mask0Action("freeze_final", lambda history: history.final))
    catalogue.NETWORKS.add(Architecture("small", "Small", (), (9,), "striped", 3, 1e-2, 10.0))
    datasets.register(
        DataSource("striped", "Stripes", (1, 3, 4), 60, 15, 30, "made up", 3), striped
    )
    catalogue.EXPERIMENTS.add(
        Experiment("mine", "mine alone", "tickets", ("energy_gained/halved/freeze_final", "random"))
    )

    @claim("energy gained is a better criterion than chance", "mine")
    def mine_1(network: str) -> Iterator[Comparison]:
        """Mean over all densities."""
        ours, chance = (
            ticket("mine", arm)
            for arm in ("energy_gained/halved/freeze_final", "random/rewind/zero")
        )
        yield Comparison("energy_gained − random", ours, chance)

    plan = experiments.plan(
        "mine", "small", "paper", seeds=3, rounds=3, batch_size=20, evaluate_every=1
    )
    assert plan.dataset == "striped"
    target = runs.run(plan)
    record = records.read(target.stem, target.parent)
    assert set(record.table["arm"]) == {"energy_gained/halved/freeze_final", "random/rewind/zero"}
    assert record.table.test_accuracy.max() == 1  # three rows are soon told apart
    result = claims.judge("mine-1", {("mine", "fc"): record})
    assert result.weakest.seeds == 3
    assert result.verdict in claims.VERDICTS


def test_a_kind_of_experiment_from_outside() -> None:
    """Dense networks alone, at their initial weights: no training at all."""

    def run(shard) -> Iterator[None]:
        from dltlib import networks, training

        weights = networks.initial_weights(shard.network, shard.seeds)
        biases = networks.initial_biases(shard.network, len(shard.seeds))
        test = shard.dataset.test
        right = training.evaluate(shard.network, weights, biases, test.images, test.labels)
        rows = [
            {"arm": replica.arm, "seed": replica.seed, "round": 0, "density": 1.0}
            | {"test_accuracy": right[index].item()}
            for index, replica in enumerate(shard.replicas)
        ]
        shard.progress(len(rows), 0.0, 0)
        shard.checkpoint.save(0, rows, {}, {}, True)
        yield

    def parse(text: str):
        if text != "untrained":
            raise UserError(f"the only arm is untrained, not {text!r}")
        return text

    kinds.KINDS.add(
        Kind(
            "untrained",
            "untrained",
            parse,
            lambda network, preset: tickets.preset(network, preset) | {"rounds": 0},
            lambda plan, training, images: plan.seeds,
            run,
            frozenset({"rounds"}),
        )
    )
    catalogue.EXPERIMENTS.add(Experiment("chance", "before training", "untrained", ("untrained",)))
    plan = experiments.plan("chance", seeds=4)
    reported = []
    target = runs.run(plan, progress=lambda done, *_, **__: reported.append(done))
    assert sum(reported) == experiments.size(plan).iterations == 4
    table = pd.read_parquet(target)
    assert len(table) == 4
    assert table.test_accuracy.between(0, 0.35).all()
    with pytest.raises(UserError, match="the only arm is untrained"):
        experiments.plan("chance", arms=("random",))
    with pytest.raises(UserError, match="does not use rounds"):
        experiments.plan("chance", rounds=2)


def test_a_column_that_nothing_describes_is_refused_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measured = rows.trained
    monkeypatch.setattr(
        rows,
        "trained",
        lambda *given, **more: [row | {"loss": 1.0} for row in measured(*given, **more)],
    )
    done = []
    plan = experiments.plan("criteria", preset="tiny", seeds=1)
    with pytest.raises(UserError, match="no column 'loss': say in records.COLUMNS what it holds"):
        runs.run(plan, progress=lambda iterations, *_, **__: done.append(iterations))
    assert not done
    assert not list(paths.records().glob("*"))


def test_names_are_taken_once() -> None:
    fc = catalogue.NETWORKS["fc"]
    assert catalogue.NETWORKS.add(fc) is fc  # the same again, as when a module is read twice
    with pytest.raises(UserError, match="the network 'fc' is there already"):
        catalogue.NETWORKS.add(dataclasses.replace(fc, epochs=1))


# --- the chapter "Your own ablation" ------------------------------------------------------------


def _cells() -> list[str]:
    notebook = jupytext.read(paths.book() / "ablation.py", fmt="py:percent")
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


def _additions() -> list[str]:
    """The cells of a criterion, a mask-1 action and a network, as a module would hold them."""
    marks = ("@criteria.criterion", "@actions.mask1_action", "catalogue.NETWORKS[")
    found = [next(cell for cell in _cells() if mark in cell) for mark in marks]
    assert all(len(cell.splitlines()) <= 12 for cell in found)
    return ["from dltlib import actions, catalogue, criteria", *found]


def test_the_page_adds_runs_and_draws_and_one_cell_changes_its_criterion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DLTLIB_RECORDS", str(paths.REPOSITORY / "book" / "records"))
    shown: dict[str, list[str]] = {}

    def show(figure, *, name: str, **_) -> None:
        shown[name] = [text.get_text() for text in figure.findobj(Text)]

    monkeypatch.setattr(page, "show", show)
    monkeypatch.setattr(page, "glue", lambda **_: None)
    cells = _cells()
    (parameters,) = [place for place, cell in enumerate(cells) if cell.startswith("seeds = ")]
    cells[parameters] = "seeds, rounds, epochs = 2, 2, 1"
    names: dict = {"__name__": "a_notebook"}
    for cell in cells:
        exec(cell, names)
    assert "large_sum" in shown["fig-ablation-criterion"]
    assert {"signed_mean", "rewind"} <= set(shown["fig-ablation-action"])
    assert {"large_final", "large_sum", "random"} <= set(shown["fig-ablation-network"])
    before = names["tables"]["criterion"]
    assert len(before) == 2 * 3

    (own,) = [place for place, cell in enumerate(cells) if "def large_sum" in cell]
    body = "history.initial.abs() + history.final.abs()"
    assert body in cells[own]
    cells[own] = cells[own].replace(body, "-history.final.abs()")
    for cell in cells[own:]:
        exec(cell, names)
    after = names["tables"]["criterion"]
    last = [table[table["round"] == 2].test_accuracy.mean() for table in (before, after)]
    assert last[1] < last[0]


def test_nobody_changes_what_another_added() -> None:
    exec("\n".join(_additions()), {"__name__": "a_notebook"})
    exec("\n".join(_additions()), {"__name__": "a_notebook"})
    with pytest.raises(UserError, match="'large_sum' is there already: choose another name"):
        exec("\n".join(_additions()), {"__name__": "another_package"})


def _install(folder: Path, module: str) -> dict[str, str]:
    """A package of one module on the path, as pip would leave it; variables to run python with."""
    (folder / "my_tickets.py").write_text(module)
    (folder / "my_tickets-1.dist-info").mkdir(parents=True)
    (folder / "my_tickets-1.dist-info" / "METADATA").write_text("Name: my-tickets\nVersion: 1\n")
    (folder / "my_tickets-1.dist-info" / "entry_points.txt").write_text(
        f"[{registry.ADDITIONS}]\nmy_tickets = my_tickets\n"
    )
    assert f'entry-points."{registry.ADDITIONS}"' in (paths.book() / "ablation.py").read_text()
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(paths.REPOSITORY)])}


def _dltlib(*arguments: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dltlib.cli", *arguments]
    return subprocess.run(command, env=env, check=False, capture_output=True, text=True)


def test_an_installed_package_is_found_by_every_command(tmp_path: Path) -> None:
    env = _install(tmp_path, "\n".join(_additions()))
    asked = "run criteria --network bottleneck --arms large_sum/signed_mean random --dry-run"
    done = _dltlib(*asked.split(), env=env)
    assert done.returncode == 0, done.stderr
    assert "large_sum/signed_mean/zero" in done.stdout
    assert "bottleneck" in _dltlib("run", "--help", env=env).stdout
    # Nor need a program import what it finds by name, as a worker of a cluster does.
    found = "from dltlib import criteria; print(criteria.CRITERIA.find('large_sum').formula)"
    done = subprocess.run([sys.executable, "-c", found], env=env, capture_output=True, text=True)
    assert done.stdout == "|w_i| + |w_f|\n", done.stderr


def test_an_installed_package_that_is_broken_is_named(tmp_path: Path) -> None:
    done = _dltlib("status", env=_install(tmp_path, "import no_such_module"))
    assert done.returncode == 2
    assert "my-tickets adds to dltlib by my_tickets, which cannot be imported" in done.stderr
    assert "no_such_module" in done.stderr


def test_an_experiment_does_not_take_anothers_place() -> None:
    """Those without options of their own share one function, which says nothing of where they
    were written."""
    with pytest.raises(UserError, match="the experiment 'criteria' is there already"):
        catalogue.EXPERIMENTS.add(Experiment("criteria", "mine", "tickets", ("random",)))

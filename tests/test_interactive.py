"""The pages that can be played with: their arithmetic held to the library, then as a reader uses
them, from a file and without a network."""

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import torch

from dltlib import (
    catalogue,
    claims,
    criteria,
    datasets,
    figures,
    interactive,
    networks,
    paths,
    plans,
    randomness,
    records,
    supermasks,
    training,
)
from dltlib.claims import THRESHOLDS
from dltlib.figures import regions
from dltlib.interactive import explorer, plane, playground, scripts
from dltlib.supermasks import Learner

SCRIPTS = paths.book() / "_static" / "interactive"
BOOK_RECORDS = paths.book() / "records"
PAGES = ("explorer", "plane", "playground")
LARGEST_PAGE = 1_000_000  # bytes that such a page loads beyond what the theme and MathJax weigh


@pytest.fixture(scope="module")
def javascript(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Evaluate a JavaScript function of one argument where the pages' own scripts are loaded."""
    with contextlib.closing(chromium.new_page()) as page:
        for name in ("common", "verdict", "criteria", "learner"):
            page.add_script_tag(path=SCRIPTS / f"{name}.js")
        yield page.evaluate


# --- verdicts -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shelf() -> claims.Shelf:
    """Records of every kind that claims are judged by, small and large."""
    return claims.Shelf(BOOK_RECORDS)


_made: dict[tuple[str, str, str | None], dict[str, Any]] = {}  # claims take a while to tabulate


def _data(
    name: str, network: str, shelf: claims.Shelf, preset: str | None = None
) -> dict[str, Any]:
    key = (name, network, preset)
    if key not in _made:
        _made[key] = explorer.claim_data(claims.CLAIMS.find(name), network, shelf, preset)
    return _made[key]


def test_students_quantile_is_scipys(javascript: Callable[..., Any]) -> None:
    from scipy import stats

    cases = [[(1 + c) / 2, n] for c in (0.8, 0.9, 0.95, 0.99) for n in (1, 2, 3, 4, 7, 30)]
    found = javascript("cases => cases.map(([p, n]) => dlt.verdict.studentQuantile(p, n))", cases)
    np.testing.assert_allclose(found, [stats.t.ppf(p, n) for p, n in cases], rtol=1e-9)


_JUDGE = """([data, changes]) => {
  const limits = { confidence: 0.95, least_seeds: 3, ...changes.limits };
  const parts = data.comparisons.map((one) => {
    const window = one.window && changes.windows?.[one.window];
    const bar = one.bar_name && changes.bars ? changes.bars[one.bar_name] : one.bar;
    return dlt.verdict.judge(dlt.verdict.entryOf(one, window), bar, limits);
  });
  return JSON.stringify({ parts, verdict: dlt.verdict.combine(parts) });
}"""

BARS = ("match", "close", "far_above_chance", "far_better", "mends_far_more", "mostly")
# As they are stated, and as a reader might drag them: onto nothing, too.
CHANGED = {
    "stated": {},
    "windows": {
        "any_pruning": (0.04, 0.5),
        "moderate_pruning": (0.1, 0.7),
        "low_pruning": (0.3, 0.9),
        "high_pruning": (0.02, 0.3),
    },
    "narrow": {"any_pruning": (0.3, 0.31), "moderate_pruning": (0.95, 0.99)},
    "bars": {
        "match": (0.02, 0.1),
        "close": (0.5, 20.0),
        "far_above_chance": 60.0,
        "far_better": 12.0,
        "mends_far_more": 75.0,
        "mostly": 55.0,
        "confidence": 0.8,
    },
}


def _agree(found: dict[str, Any], expected: claims.Result) -> int:
    """Hold what the browser says of a claim to a result; how many comparisons were held."""
    where = f"{expected.claim} on {expected.network}, {expected.preset}"
    assert found["verdict"] == expected.verdict, where
    for own, part in zip(found["parts"], expected.parts, strict=True):
        assert own["verdict"] == part.verdict, f"{where}: {part.name}"
        assert own["seeds"] == part.seeds
        for name in ("effect", "low", "high", "bar"):
            # A comparison with no number has a null in JSON and a NaN in Python.
            value = np.nan if own[name] is None else own[name]
            np.testing.assert_allclose(
                value, getattr(part, name), rtol=1e-6, atol=1e-7, err_msg=where
            )
    return len(expected.parts)


def test_the_explorer_says_of_every_claim_what_the_scorecard_says(
    javascript: Callable[..., Any], shelf: claims.Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = claims.scorecard(directory=BOOK_RECORDS)
    stated = {(one.claim, one.network): _data(one.claim, one.network, shelf) for one in results}
    # What the page offers first; other presets, which nothing here looks at, are not tabulated.
    monkeypatch.setattr(
        explorer,
        "claim_data",
        lambda one, network, _, preset=None: {} if preset else stated[one.name, network],
    )
    for result in results:
        offered = explorer.bases(claims.CLAIMS.find(result.claim), result.network, shelf)
        preset, data = next(iter(offered.items()))
        assert tuple(data["records"]) == result.records
        assert data["preset"] == preset == (result.preset or explorer.NO_RECORD)
        found = json.loads(javascript(_JUDGE, [data, {}]))
        _agree(found, result)
        assert [own["reason"] for own in found["parts"]] == [part.reason for part in result.parts]
    assert len({result.records for result in results}) > 10


def test_other_presets_have_all_the_records_that_a_claim_needs(shelf: claims.Shelf) -> None:
    for name in ("criteria-1", "supermask-3", "supermask-4"):
        stated, *others = explorer.bases(claims.CLAIMS.find(name), "fc", shelf).items()
        assert stated == (stated[1]["preset"], _data(name, "fc", shelf))
        assert others
        for preset, data in others:
            needed = [f"{one}-fc-{preset}" for one in claims.CLAIMS[name].experiments]
            assert data["records"] == needed
            assert data["file"] == f"{name}-fc-{preset}"


@pytest.mark.parametrize("changed", CHANGED)
def test_verdicts_in_the_browser_are_the_librarys(
    javascript: Callable[..., Any], shelf: claims.Shelf, changed: str
) -> None:
    limits = dataclasses.replace(THRESHOLDS, **CHANGED[changed])
    windows = {name: getattr(limits, name) for name in CHANGED["windows"]}
    bars = {name: getattr(limits, name) for name in BARS}
    changes = {"limits": {"confidence": limits.confidence}, "windows": windows, "bars": bars}
    compared = 0
    for one in claims.CLAIMS.values():
        scopes = [("fc", "tiny"), ("conv2", None)] + ([("all", None)] if one.across else [])
        for network, preset in scopes:
            data = _data(one.name, network, shelf, preset)
            evidence = shelf.choose(one, network, preset)
            # What has to be reached to count as learned is no bar of a comparison between networks:
            # the page's reader cannot drag it.
            fixed = {"far_above_chance": THRESHOLDS.far_above_chance} if network == "all" else {}
            given = dataclasses.replace(limits, **fixed)
            expected = claims.judge(one.name, evidence, network, given)
            compared += _agree(json.loads(javascript(_JUDGE, [data, changes])), expected)
    assert compared > 50


@pytest.mark.parametrize("name", ["criteria-1", "supermask-3", "supermask-4"])
def test_records_that_may_not_be_compared_leave_a_reason(
    javascript: Callable[..., Any],
    shelf: claims.Shelf,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    def refuse(self: claims.Evidence, experiment: str, network: str) -> Any:
        raise claims.Undecided("they are of unlike widths")

    monkeypatch.setattr(claims.Evidence, "table", refuse)
    data = explorer.claim_data(claims.CLAIMS.find(name), "fc", shelf)
    assert data["records"]
    found = json.loads(javascript(_JUDGE, [data, {}]))
    assert found["verdict"] == claims.UNDECIDED
    assert {own["reason"] for own in found["parts"]} == {"they are of unlike widths"}


def test_intervals_end_where_those_of_the_tables_do(javascript: Callable[..., Any]) -> None:
    cases = [(50.0, -3.0, 103.0), (-4.0, -9.0, 1.0), (50.0, 40.0, 60.0)]
    for unit in (claims.PERCENT, claims.POINTS, claims.ERRORS):
        for effect, low, high in cases:
            part = claims.Part("", unit, effect, low, high, 0.0, (), None, "", "")
            found = javascript(
                "([part, unit]) => dlt.verdict.ends(part, unit)",
                [{"effect": effect, "low": low, "high": high}, unit],
            )
            assert tuple(found) == part.ends()


def test_every_record_can_be_chosen_and_says_what_is_reduced() -> None:
    read = {name: records.read(name, BOOK_RECORDS) for name in records.available(BOOK_RECORDS)}
    listed = explorer.index(read, {})
    assert sorted(one["name"] for one in listed["records"]) == list(read)
    for one in listed["records"]:
        record = read[one["name"]]
        seeds = record.table["seed"].nunique()
        assert one["words"].startswith(f"{record.scale()}, {record.plan['epochs']} epochs, {seeds}")
        # The first of a preset is the one that is read where only the preset is named.
        first = next(
            other
            for other in listed["records"]
            if all(other[part] == one[part] for part in ("experiment", "network", "preset"))
        )
        place = (one["experiment"], one["network"], one["preset"], BOOK_RECORDS)
        assert first["name"] == records.largest(*place)


def _index(site: Path) -> dict[str, Any]:
    text = (site / "_static" / "interactive" / "data" / "records" / "index.js").read_text()
    return json.loads(text[text.index(",") + 1 : text.rindex(")")])


def test_no_two_lines_of_a_record_look_alike() -> None:
    for name in records.available(BOOK_RECORDS):
        lines = explorer.record_data(name, records.read(name, BOOK_RECORDS))["arms"]
        assert len({(line["color"], line["dashes"]) for line in lines}) == len(lines), name


def test_a_record_is_handed_over_as_it_is() -> None:
    record = records.read("signs-fc-tiny", BOOK_RECORDS)
    data = explorer.record_data("signs-fc-tiny", record)
    row = record.table.sample(1, random_state=0).iloc[0]
    arm = [one["name"] for one in data["arms"]].index(row["arm"])
    seed, number = data["seed_names"].index(row["seed"]), data["rounds"].index(row["round"])
    for metric in ("test_accuracy", "density", "training_loss"):
        assert data["columns"][metric][arm][seed][number] == pytest.approx(row[metric], rel=1e-5)
    # The dense network has pruned nothing, so nothing is known of what it pruned.
    assert data["columns"]["pruned_shrunk_share"][arm][seed][0] is None
    assert data["command"] == record.manifest["command"]


# --- criteria -----------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["fc", "conv2"])
@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.85])
def test_masks_and_regions_in_the_browser_are_the_librarys(
    javascript: Callable[..., Any], network: str, share: float
) -> None:
    record = records.largest("criteria", network, directory=BOOK_RECORDS)
    assert record is not None
    arrays = records.read_arrays(record, BOOK_RECORDS)
    initial, final = (torch.from_numpy(values) for values in arrays["weights/dense2"])
    generator = np.random.default_rng(0)
    points = generator.uniform(-0.3, 0.3, (200, 2)).astype(np.float32)
    for name in plane.CRITERIA:
        found = javascript(
            """([name, initial, final, share, points]) => {
              const { scores, keep, region } = dlt.criteria;
              const score = scores(name, initial, final);
              const mask = keep(score, share);
              const inside = region(name, initial, final, score, mask);
              return [[...mask], inside && points.map(([one, other]) => inside(one, other))];
            }""",
            [name, initial.tolist(), final.tolist(), share, points.tolist()],
        )
        assert sum(found[0]) == max(1, round(share * len(initial)))
        if name == "random":  # another draw than the library's, and no region
            assert found[1] is None
            continue
        expected = regions.kept(name, initial, final, share)
        assert found[0] == expected.int().tolist(), name
        # Of scores that are equal many at once (flipped signs have 0) a region keeps all or none.
        margin = regions.criterion_margin(name, initial, final, share)
        w_i, w_f = torch.from_numpy(points).double().unbind(1)
        assert found[1] == (margin(w_i, w_f) >= 0).tolist(), name


def test_overlaps_and_shares_in_the_browser_are_the_librarys(
    javascript: Callable[..., Any],
) -> None:
    initial, final = records.read_arrays("criteria-fc-cpu", BOOK_RECORDS)["weights/dense1"]
    names = ["large_final", "magnitude_increase", "large_init_large_final"]
    expected = regions.overlap(initial, final, 0.3, names)
    found, facts = javascript(
        """([names, initial, final]) => {
          const { scores, keep, overlap, facts } = dlt.criteria;
          const masks = names.map((name) => keep(scores(name, initial, final), 0.3));
          return [masks.map((one) => masks.map((other) => overlap(one, other))),
                  facts(initial, final, masks[0])];
        }""",
        [names, initial.tolist(), final.tolist()],
    )
    np.testing.assert_allclose(found, expected.to_numpy())
    mask = regions.kept("large_final", *map(torch.from_numpy, (initial, final)), 0.3).numpy()
    shrunk, flipped = np.abs(final) < np.abs(initial), np.signbit(final) != np.signbit(initial)
    for part, which in {"all": np.ones_like(mask), "kept": mask, "pruned": ~mask}.items():
        assert facts["shrunk"][part] == pytest.approx(shrunk[which].mean())
        assert facts["flipped"][part] == pytest.approx(flipped[which].mean())


def test_the_plane_offers_every_criterion_that_is_a_region(javascript: Callable[..., Any]) -> None:
    offered = javascript("() => dlt.criteria.NAMES", None)
    assert set(offered) == set(plane.CRITERIA)
    assert set(offered) == set(criteria.CRITERIA) - {"snip", "grad"}  # these need a gradient


# --- supermasks ---------------------------------------------------------------------------------

WIDTH = 0.1
_LEARN = """([layers, rescaled, images, batches, rate]) => {
  const learner = dlt.learner.start(
    layers.map((one) => ({ ...one, values: dlt.unpack(one.values) })), rescaled);
  const pixels = dlt.unpack(images);
  const width = layers[0].inputs;
  const losses = batches.map(({ rows, labels }) => {
    const batch = new Float32Array(rows.length * width);
    rows.forEach((row, place) =>
      batch.set(pixels.subarray(row * width, (row + 1) * width), place * width));
    return dlt.learner.update(learner, batch, labels, rate);
  });
  const after = learner.layers.map((layer) => ({
    scores: [...layer.scores], momentum: [...layer.momentum] }));
  dlt.learner.sample(learner, learner.step);
  return { losses, after, masks: learner.layers.map((one) => [...one.masked].map(Math.abs)),
    factors: learner.layers.map((one) => one.factor) };
}"""


@pytest.mark.parametrize("scaling", catalogue.MASK_SCALINGS)
@pytest.mark.parametrize("values", catalogue.MASK_VALUES)
def test_learning_in_the_browser_is_the_librarys(
    javascript: Callable[..., Any], values: str, scaling: str
) -> None:
    """Three updates from the same start: the same masks are drawn, the same scores come out."""
    dataset = datasets.load("digits")
    network = networks.build("fc", dataset.input_shape, WIDTH)
    with reference.one_thread():
        learner = Learner.of_variants(network, [("learned", values, scaling)], [0])
        order = training.data_order(0, 0, len(dataset.train))[:150].reshape(3, 50)
        losses = []
        settings = training.Settings(epochs=1, learning_rate=10.0, batch_size=50)
        for step, rows in enumerate(order):
            losses.append(learner._update(dataset.train, rows[None], step, settings).item())
    found = javascript(
        _LEARN,
        [
            [
                {
                    "inputs": layer.shape[0],
                    "outputs": layer.shape[1],
                    "key": randomness.name_to_integer(0, "mask", layer.name, bits=31),
                    "values": scripts.packed(value[0].numpy()),
                }
                for layer, value in zip(network.layers, learner.values, strict=True)
            ],
            scaling == "rescaled",
            scripts.packed((dataset.train.images.flatten(1).float() / 255).numpy()),
            [
                {"rows": rows.tolist(), "labels": dataset.train.labels[rows].tolist()}
                for rows in order
            ],
            10.0,
        ],
    )
    np.testing.assert_allclose(found["losses"], losses, rtol=1e-5)
    for own, scores, momentum in zip(found["after"], learner.scores, learner.momentum, strict=True):
        # float32 here and there, summed in another order. Sums of signed constants may cancel but
        # for rounding, which then decides whether a unit is silent: a few scores hang on that.
        for ours, theirs in ((own["scores"], scores), (own["momentum"], momentum)):
            close = np.isclose(ours, theirs.flatten(), rtol=1e-3, atol=1e-5)
            assert close.mean() == 1 if values == "initial" else close.mean() > 0.95
        assert scores.abs().max() > 0.01  # it did learn
    for mask, drawn, value in zip(learner.sample(3), found["masks"], learner.values, strict=True):
        assert [size > 0 for size in drawn] == (mask & (value != 0)).flatten().tolist()


def test_draws_in_the_browser_are_the_librarys_bit_for_bit(javascript: Callable[..., Any]) -> None:
    keys = randomness.stream((7, 11), 3, "mask", "dense1")
    expected = [randomness.uniform_at(keys, torch.tensor(step)) for step in (0, 1, -1, 123_456)]
    found = javascript(
        """(key) => [0, 1, -1, 123456].map((step) => [...dlt.learner.stream(77, key)]
             .map((one) => dlt.learner.uniformAt(one, dlt.learner.mix(step))))""",
        randomness.name_to_integer(3, "mask", "dense1", bits=31),
    )
    assert found == [draws.flatten().tolist() for draws in expected]


def test_the_browsers_accuracy_is_the_librarys(javascript: Callable[..., Any]) -> None:
    data = playground.supermask(BOOK_RECORDS)
    found = javascript(
        """(data) => {
          const layers = data.layers.map((one) => ({ ...one, values: dlt.unpack(one.initial) }));
          const learner = dlt.learner.start(layers, true);
          const { images, labels } = data.splits.test;
          const pixels = Float32Array.from(dlt.unpack(images), (pixel) => pixel / 255);
          return [0, 1, 2].map((draw) =>
            dlt.learner.accuracyOf(learner, pixels, dlt.unpack(labels), draw));
        }""",
        data,
    )
    dataset = datasets.load("digits")
    network = networks.build("fc", dataset.input_shape)
    learner = Learner.of_variants(network, [("learned", "initial", "rescaled")], [0])
    expected = [
        supermasks.accuracy(
            network,
            supermasks.apply_masks(learner.values, learner.sample(-1 - draw), learner.rescaled),
            dataset.test,
        ).item()
        for draw in range(3)
    ]
    # One image in three hundred may fall on the other side of a tie of two digits.
    np.testing.assert_allclose(found, expected, atol=1.1 / len(dataset.test))


def test_pixels_that_lead_nowhere_are_told_from_those_that_do() -> None:
    first = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 0]], dtype=torch.bool)
    second = torch.tensor([[1, 0], [0, 0], [0, 1]], dtype=torch.bool)
    third = torch.tensor([[1], [1]], dtype=torch.bool)
    found = playground.pixels([first, second, third])
    assert found == {"weights": [1, 1, 0, 2], "seen": [1, 0, 0, 1], "units": [1, 1]}


# --- the pages ----------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(
    chromium: Any, site: Path, address: str, width: int = 1440, **options: Any
) -> Iterator[Any]:
    """A page of the site, opened as a file; on leaving, nothing may have gone wrong in it."""
    context = chromium.new_context(viewport={"width": width, "height": 900}, **options)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.on(
        "console",
        lambda message: faults.append(message.text) if message.type == "error" else None,
    )
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((site.as_uri(), "data:", "blob:"))
            else faults.append(f"asks {request.url}")
        ),
    )
    page.goto(f"{site.as_uri()}/book/{address}")
    page.wait_for_selector(".dlt-app :is(svg, .dlt-badge)")
    yield page
    wide, room = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= room
    assert page.locator(".dlt-problem").count() == 0
    assert faults == []
    context.close()


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The explorer without the book around it, of two records of signs on digits, one of them at
    half the width and under its own name, and one of the two that supermask-3 needs."""
    folder = tmp_path_factory.mktemp("stand-in")
    for name in ("signs-fc-tiny", "supermasks-fc-tiny"):
        record = records.read(name, BOOK_RECORDS)
        own = ("name", "plan", "rows", "sha256", "finished", "commit", "versions", "arrays_sha256")
        facts = {key: value for key, value in record.manifest.items() if key not in own}
        for plan in (record.plan, record.plan | {"width": 0.5}):
            changed = plan["width"] != 1
            if changed and name.startswith("supermasks"):
                continue
            named = f"{name}-{plans.plan_hash(plan)}" if changed else name
            rows = record.table.to_dict("records")
            records.write(folder / "records", named, rows, plan, **facts)
    shutil.copytree(SCRIPTS, folder / "_static" / "interactive")
    interactive.write(["explorer"], folder / "records", folder)
    text = (paths.book() / "explorer.md").read_text(encoding="utf-8")
    app = text[text.index("<link") : text.rindex("</script>") + len("</script>")]
    (folder / "book").mkdir()
    (folder / "book" / "explorer.html").write_text(
        f'<!doctype html><html data-theme="light"><meta charset="utf-8">{app}', encoding="utf-8"
    )
    return folder


def test_a_claim_without_a_record_says_so(stand_in: Path, chromium: Any) -> None:
    with _opened(chromium, stand_in, "explorer.html#claim=signs-3&network=conv4") as page:
        assert page.locator(".dlt-verdict").text_content() == "Verdict: not measured"
        assert "no record of signs on conv4" in page.locator(".dlt-rows").inner_text()
        assert page.locator(".dlt-chart > svg").count() == 0
        page.locator('[data-key="Network"]').select_option("fc")
        page.wait_for_selector(".dlt-chart > svg")
        assert page.url.endswith("#claim=signs-3&network=fc")


def test_a_claim_with_some_of_its_records_shows_these_and_what_is_missing(
    stand_in: Path, chromium: Any
) -> None:
    with _opened(chromium, stand_in, "explorer.html#claim=supermask-3&network=fc") as page:
        assert page.locator(".dlt-verdict").text_content() == "Verdict: not measured"
        missing = "no record of learned_supermasks on fc"
        assert missing in page.locator(".dlt-rows").inner_text()
        assert page.locator(".dlt-chart .dlt-line").count() > 0
        # To the record by keyboard, and back, which the history keeps.
        page.get_by_role("link", name="supermasks-fc-tiny").focus()
        page.keyboard.press("Enter")
        page.wait_for_selector(".dlt-explorer:not(.has-claim)")
        assert page.url.endswith("#experiment=supermasks&network=fc&preset=tiny")
        page.go_back()
        page.wait_for_selector(".dlt-explorer.has-claim")


def test_records_of_one_preset_are_told_apart_by_what_is_reduced(
    stand_in: Path, chromium: Any
) -> None:
    start = "explorer.html#experiment=signs&network=fc&preset=tiny"
    with _opened(chromium, stand_in, start) as page:
        choice = page.locator('[data-key="Record"]')
        first, second = (one.inner_text() for one in choice.locator("option").all())
        assert first.startswith("FC on digits, 8 epochs, 3 seeds (signs-fc-tiny)")
        assert second.startswith("FC on digits, width 0.5, 8 epochs, 3 seeds (signs-fc-tiny-")
        choice.focus()
        page.keyboard.press("ArrowDown")
        page.wait_for_function("() => location.hash.includes('record=signs-fc-tiny-')")
        assert "width 0.5" in page.locator(".dlt-foot").inner_text()
        assert page.evaluate("document.activeElement.dataset.key") == "Record"
        address = page.url.split("/book/")[1]
    with _opened(chromium, stand_in, address) as page:
        assert "width 0.5" in page.locator(".dlt-foot").inner_text()
    # A claim rests on the preset's own record, as the scorecard does.
    with _opened(chromium, stand_in, "explorer.html#claim=signs-3&network=fc") as page:
        assert "By signs-fc-tiny: FC on digits, 8 epochs" in page.locator(".dlt-claim").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 768, 1440])
@pytest.mark.parametrize("name", PAGES)
def test_pages_draw_at_every_width(
    site: Path, chromium: Any, name: str, width: int, scheme: str
) -> None:
    with _opened(chromium, site, f"{name}.html", width, color_scheme=scheme) as page:
        assert page.locator("html").get_attribute("data-theme") == scheme


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_small(site: Path, chromium: Any, name: str) -> None:
    with contextlib.closing(chromium.new_page()) as page:
        loaded: set[str] = set()
        page.on("request", lambda request: loaded.add(request.url))
        page.goto(f"{site.as_uri()}/book/{name}.html")
        page.wait_for_selector(".dlt-app svg")
    own = [url for url in loaded if "/interactive/" in url or url.endswith(".html")]
    sizes = [Path(url.removeprefix("file://")).stat().st_size for url in own]
    assert len(sizes) >= 5
    assert sum(sizes) < LARGEST_PAGE


@pytest.mark.parametrize("name", PAGES)
def test_without_javascript_a_page_says_what_to_do(site: Path, chromium: Any, name: str) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{site.as_uri()}/book/{name}.html")
    assert "JavaScript" in page.locator(".dlt-app noscript").first.inner_text()
    context.close()


def test_a_window_and_a_bar_are_dragged_and_the_verdict_follows(site: Path, chromium: Any) -> None:
    with _opened(chromium, site, "explorer.html#claim=criteria-1&network=fc&preset=tiny") as page:
        before = page.locator(".dlt-verdict").inner_text()
        assert before.startswith("Verdict")
        # By keyboard: the bar far above the interval, where no effect passes it.
        bar = page.locator('[data-key="bar1"]')
        bar.focus()
        for _ in range(60):
            page.keyboard.press("Shift+ArrowRight")
        assert page.evaluate("document.activeElement.dataset.key") == "bar1"
        assert "not reproduced" in page.locator(".dlt-verdict .dlt-badge").inner_text()
        assert "bar1=" in page.url
        # The address alone brings it back.
        address = page.url.split("/book/")[1]
        # By mouse: the window's lower end onto its upper, so that no round is left in it.
        grips = [page.locator(f'[data-key="moderate_pruning-{end}"]') for end in (0, 1)]
        low, high = (grip.locator(".dlt-grip-knob").bounding_box() for grip in grips)
        page.mouse.move(low["x"] + 5, low["y"] + 10)
        page.mouse.down()
        page.mouse.move(high["x"] + 5, high["y"] + 10, steps=8)
        page.mouse.up()
        assert "moderate_pruning=" in page.url
        assert "not measured" in page.locator(".dlt-verdict .dlt-badge").inner_text()
        page.get_by_role("button", name="Back to what is stated").click()
        page.wait_for_function("() => !location.hash.includes('bar1')")
        assert page.locator(".dlt-verdict").inner_text() == before
    with _opened(chromium, site, address) as page:
        assert "not reproduced" in page.locator(".dlt-verdict .dlt-badge").inner_text()


def test_a_key_moves_a_window_by_a_round(site: Path, chromium: Any) -> None:
    with _opened(chromium, site, "explorer.html#claim=criteria-1&network=fc&preset=tiny") as page:
        grip = page.locator('[data-key="moderate_pruning-1"]')
        grip.focus()
        before = grip.get_attribute("aria-valuenow")
        page.keyboard.press("ArrowRight")
        assert float(grip.get_attribute("aria-valuenow")) < float(before)
        assert page.evaluate("document.activeElement.dataset.key") == "moderate_pruning-1"


def test_records_are_compared_seed_by_seed_and_handed_over(site: Path, chromium: Any) -> None:
    start = "explorer.html#experiment=signs&network=fc&preset=tiny"
    with _opened(chromium, site, start) as page:
        page.get_by_label("Against").select_option("large_final/rewind/zero")
        page.wait_for_function("() => location.hash.includes('against=')")
        assert "less rewind" in page.locator(".dlt-chart .dlt-axis").last.text_content()
        page.get_by_label("reinit", exact=True).uncheck()
        page.wait_for_function("() => location.hash.includes('arms=')")
        with page.expect_download() as download:
            page.get_by_role("button", name="These curves as CSV").click()
        lines = Path(download.value.path()).read_text().splitlines()
        assert lines[0] == "arm,seed,density,test_accuracy_percent_difference"
        assert not any(line.startswith("large_final/reinit/zero") for line in lines)
        # The reference differs from itself by nothing, in every round of every seed.
        own = [line for line in lines if line.startswith("large_final/rewind/zero,")]
        assert len(own) == 27
        assert {line.split(",")[-1] for line in own} == {"0"}


def test_values_are_read_by_keyboard(site: Path, chromium: Any) -> None:
    with _opened(chromium, site, "explorer.html#experiment=zeros&network=fc&preset=tiny") as page:
        page.locator('[data-key="chart"]').focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowDown")
        assert "Round" in page.locator(".dlt-chart .dlt-spoken").inner_text()
        assert page.locator(".dlt-tip").is_visible()
        page.keyboard.press("Escape")
        assert page.locator(".dlt-tip").is_hidden()


def test_every_claim_can_be_opened_and_has_the_scorecards_verdict(
    site: Path, chromium: Any
) -> None:
    verdicts = {
        (result.claim, result.network): result.outcome
        for result in claims.scorecard(directory=BOOK_RECORDS)
    }
    names = figures.NETWORK_NAMES | {claims.ALL_NETWORKS: "all four, compared"}
    with _opened(chromium, site, "explorer.html") as page:
        for one in _index(site)["claims"]:
            for network in one["scopes"]:
                page.evaluate(
                    "(address) => { location.hash = address; }",
                    f"claim={one['id']}&network={network}",
                )
                sentence = page.locator(".dlt-sentence")
                page.wait_for_function(
                    "(id) => document.querySelector('.dlt-sentence')?.textContent.startsWith(id)",
                    arg=f"{one['id']}, {names[network]}: ",
                )
                assert one["sentence"] in sentence.inner_text()
                assert page.locator(".dlt-rows li").count() > 0
                verdict = verdicts.pop((one["id"], network))
                assert page.locator(".dlt-verdict").text_content() == f"Verdict: {verdict}"
    assert verdicts == {}


def test_the_plane_follows_the_slider(site: Path, chromium: Any) -> None:
    with _opened(chromium, site, "plane.html#criterion=movement&keep=20") as page:
        assert "keeps 400 of 2,000" in page.locator(".dlt-plane-facts").inner_text()
        page.locator('[data-key="keep"]').focus()
        page.keyboard.press("ArrowRight")
        assert "keeps 420 of 2,000" in page.locator(".dlt-plane-facts").inner_text()
        assert "keep=21" in page.url
        page.get_by_label("Layer").select_option("output")
        page.wait_for_function(
            "() => document.querySelector('.dlt-plane-facts').innerText.includes('of 1,000')"
        )


def test_a_mask_is_learned_and_reads_a_digit(site: Path, chromium: Any) -> None:
    with _opened(chromium, site, "playground.html") as page:
        status = page.locator(".dlt-status")
        assert "after epoch 0" in status.inner_text()
        for epoch in (1, 2, 3, 4, 5):
            page.get_by_role("button", name="Epoch").click()
            assert f"after epoch {epoch}" in status.inner_text()
        # The record has the same: its fifth epoch, of this seed and this variant.
        record = records.read("learned_supermasks-fc-tiny", BOOK_RECORDS).table
        row = record[
            (record["arm"] == "learned/initial/rescaled")
            & (record["seed"] == 0)
            & (record["round"] == 5)
        ].iloc[0]
        found = float(status.inner_text().split(": ")[1].split(" %")[0])
        assert found == pytest.approx(100 * row["test_accuracy"], abs=3)
        # A stroke by mouse, then by keyboard, and back to test digits.
        box = page.locator(".dlt-pad").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 10)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 10, steps=6)
        page.mouse.up()
        assert "It reads" in page.locator(".dlt-digit-bars").inner_text()
        page.get_by_role("button", name="Clear").click()
        assert "Nothing is drawn" in page.locator(".dlt-digit-bars").inner_text()
        page.locator(".dlt-pad").focus()
        page.keyboard.press(" ")
        for _ in range(8):
            page.keyboard.press("ArrowDown")
        assert "It reads" in page.locator(".dlt-digit-bars").inner_text()
        page.get_by_role("button", name="Next test digit").click()
        assert "the test digit is" in page.locator(".dlt-digit-bars").inner_text()


def test_learning_starts_pauses_and_begins_anew(site: Path, chromium: Any) -> None:
    with _opened(chromium, site, "playground.html", reduced_motion="reduce") as page:
        page.get_by_role("button", name="Start").click()
        page.wait_for_function(
            "() => !document.querySelector('.dlt-status').textContent.includes('epoch 0:')",
            timeout=60_000,
        )
        page.get_by_role("button", name="Pause").click()
        page.get_by_label("Signed constants").check()
        assert "after epoch 0" in page.locator(".dlt-status").inner_text()
        assert "signed constants" in page.locator(".dlt-status").inner_text()


def test_rounds_of_pruning_are_stepped_through(site: Path, chromium: Any) -> None:
    with _opened(chromium, site, "playground.html") as page:
        page.locator('[data-key="round"]').focus()
        page.keyboard.press("ArrowRight")
        assert "Round 1" in page.locator("#dlt-tickets").inner_text()
        page.keyboard.press("End")
        assert f"Round {playground.TICKET_ROUNDS}" in page.locator("#dlt-tickets").inner_text()


def test_pages_that_need_no_data_get_none(tmp_path: Path) -> None:
    assert interactive.write(["intro", "glossary"], BOOK_RECORDS, tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_book_without_records_is_written_too(tmp_path: Path) -> None:
    written = interactive.write(["explorer", "plane"], tmp_path / "none", tmp_path)
    assert [path.name for path in written] == ["index.js", "index.js"]

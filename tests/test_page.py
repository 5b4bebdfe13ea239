"""What chapters put on their pages: boxes, folds, numbers with their sign, words explained."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import pandas
import pytest
from docutils import nodes

from dltlib import claims, page, paths, records, terms
from dltlib.claims import REPRODUCED


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is displayed, bundle by bundle."""
    bundles: list[dict[str, Any]] = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, **_: bundles.append(bundle))
    return bundles


def _result(monkeypatch: pytest.MonkeyPatch) -> claims.Result:
    given = (claims.Reading("as stated", REPRODUCED), claims.Reading("margins halved", "undecided"))
    monkeypatch.setattr(claims, "readings_of", lambda _: given)
    missing = claims.judge("zeros-1", {})
    part = missing.parts[0]
    return claims.Result("zeros-1", "fc", REPRODUCED, "", part, (part,), "cpu", ("zeros-fc-cpu",))


def test_a_box_has_question_answer_number_and_verdict_with_its_link(
    shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    page.answer(
        question="Is <this> so?",
        answer="Yes, says `zero`.",
        number="98.1 %",
        results=[_result(monkeypatch)],
    )
    (bundle,) = shown
    html = bundle["text/html"]
    assert "Is &lt;this&gt; so?" in html
    assert "<code>zero</code>" in html
    assert '<a href="scorecard.html#zeros-1" title="zeroing pruned' in html
    assert ">zeros-1</a> reproduced (the same in 0 of 1" in html
    assert bundle["text/plain"].splitlines()[2:] == [
        "98.1 %",
        "zeros-1 reproduced (the same in 0 of 1 other reading)",
    ]


def test_a_box_names_the_network_of_a_verdict_that_is_not_on_fc(
    shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = _result(monkeypatch)
    two = [one, dataclasses.replace(one, network="conv4", verdict=claims.NOT_REPRODUCED)]
    page.answer(question="Why?", answer="So.", number="1", results=two)
    assert ">zeros-1</a> reproduced (" in shown[0]["text/html"]
    assert ">zeros-1</a> not reproduced on Conv4 (" in shown[0]["text/html"]


def test_a_box_without_verdicts_has_no_empty_line(shown: list[dict[str, Any]]) -> None:
    page.answer(question="Why?", answer="So.", number="1", results=[])
    assert "<p></p>" not in shown[0]["text/html"]


def test_what_numbers_rest_on_names_what_is_less_than_the_papers(
    shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLTLIB_RECORDS", str(paths.book() / "records"))
    reduced = records.read("criteria-fc-cpu")
    of = {"network": "conv2", "dataset": "cifar10", "width": 0.125, "train_images": 3_000}
    of |= {"seeds": 3, "epochs": 8, "rounds": 4, "learning_rate": 1e-3}
    plan = reduced.plan | of
    facts = reduced.manifest | {"plan": plan, "name": "criteria-conv2-cpu"}
    page.basis(records.read("supermasks-fc-paper"), records.Record(reduced.table, facts))
    page.basis(records.read("learned_supermasks-fc-cpu"))
    assert shown[0]["text/plain"].splitlines()[1:] == [
        "`supermasks-fc-paper`: FC on MNIST, 5 seeds, 55 epochs, 24 rounds.",
        "`criteria-conv2-cpu`: Conv2 on CIFAR-10, 0.125 of the width, 3,000 of 45,000 training "
        "images, 3 of the paper's 5 seeds, 8 of the paper's 27 epochs, 4 of the paper's 24 rounds, "
        "rate 0.001 (the paper's 0.0002).",
    ]
    (line,) = shown[1]["text/plain"].splitlines()[1:]
    assert line.endswith("of the paper's 2,000 epochs.")  # masks are learned without rounds
    assert "<code>learned_supermasks-fc-cpu</code>" in shown[1]["text/html"]


def test_a_fold_can_be_linked_to_and_holds_what_it_was_given(shown: list[dict[str, Any]]) -> None:
    frame = pandas.DataFrame({"effect": ["−0.1"]}, index=["zero & others"])
    page.fold(
        "All of it", "See [the page](explorer.html#claim=a&network=fc).", frame=frame, name="all"
    )
    html = shown[0]["text/html"]
    assert html.startswith('<details class="fold" id="all"><summary>All of it</summary>')
    assert '<a href="explorer.html#claim=a&amp;network=fc">the page</a>' in html
    assert "zero &amp; others" in html
    assert "−0.1" in shown[0]["text/plain"]


def test_minus_signs_are_minus_signs(shown: list[dict[str, Any]]) -> None:
    page.table(pandas.DataFrame({"a": [-1.234]}), caption="A difference", decimals=1)
    assert "−1.2" in shown[0]["text/html"]
    assert page.signed(-0.5, 1) == "−0.5"
    assert page.signed(0.5, 1) == "+0.5"


def test_verdicts_say_how_they_fare_otherwise(
    shown: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = _result(monkeypatch)
    monkeypatch.setattr(
        claims, "robustness", lambda _: pandas.DataFrame({"other readings": ["0 of 1"]})
    )
    page.verdicts([result], caption="One claim")
    glued = [bundle for bundle in shown if "application/papermill.record/text/plain" in bundle]
    assert "'the same in 0 of 1 other reading'" in [
        bundle["application/papermill.record/text/plain"] for bundle in glued
    ]
    assert "0 of 1" in shown[-1]["text/html"]


# --- words ----------------------------------------------------------------------------------------


def _glossary() -> nodes.document:
    from docutils.utils import new_document

    document = new_document("glossary")
    term = nodes.term("", "arm", ids=["term-arm"])
    cited = nodes.inline("", "key2019", refdomain="cite")
    meaning = nodes.paragraph("", "", nodes.Text("One way of\nmaking tickets "), cited)
    item = nodes.definition_list_item("", term, nodes.definition("", meaning))
    document += nodes.definition_list("", item)
    return document


def test_links_to_the_glossary_say_what_a_word_means() -> None:
    environment = SimpleNamespace(found_docs={terms.GLOSSARY}, get_doctree=lambda _: _glossary())
    near = nodes.reference("", "arm", refuri="glossary.html#term-arm")
    far = nodes.reference("", "else", refuri="glossary.html#term-none")
    document = nodes.section("", near, far)
    terms.explain(SimpleNamespace(env=environment), document, "book/criteria")  # type: ignore[arg-type]
    assert near["reftitle"] == "One way of making tickets"
    assert "reftitle" not in far


def test_a_book_without_a_glossary_is_left_alone() -> None:
    environment = SimpleNamespace(found_docs=set())
    link = nodes.reference("", "arm", refuri="glossary.html#term-arm")
    terms.explain(SimpleNamespace(env=environment), nodes.section("", link), "one")  # type: ignore[arg-type]
    assert "reftitle" not in link


def test_a_table_of_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="nothing to show in the table 'Accuracies'"):
        page.table(pandas.DataFrame(index=["w_i"]), caption="Accuracies")


def test_tables_set_the_weights_as_formulas_do(shown: list[dict[str, Any]]) -> None:
    frame = pandas.DataFrame({"over w_i": [1]}, index=["mask of large_final, w_f"])
    page.table(frame, caption="Accuracy over w_i")
    (bundle,) = shown
    html = bundle["text/html"]
    assert "over <i>w</i><sub>i</sub></th>" in html
    assert "mask of large_<wbr>final, <i>w</i><sub>f</sub></th>" in html
    assert '<p class="table-caption">Accuracy over <i>w</i><sub>i</sub></p>' in html
    assert 'aria-label="Accuracy over w_i"' in html
    assert "w_i" in bundle["text/plain"]


def test_fewer_seeds_than_the_papers_make_a_record_smaller_and_its_intervals_wider(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DLTLIB_RECORDS", str(paths.book() / "records"))
    whole = records.read("supermasks-fc-paper")
    assert not page.smaller(whole)
    assert page.fewer_seeds(whole) == ""
    three = whole.first_seeds(3)
    assert set(three.table["seed"]) == {0, 1, 2}
    assert page.smaller(three)
    wider = claims.half_width(1.0, 3) / claims.half_width(1.0, 5)
    assert f"intervals are {wider:.1f} times as wide" in page.fewer_seeds(three)
    assert "too few for an interval" in page.fewer_seeds(whole.first_seeds(2))
    assert page.smaller(
        records.Record(whole.table, whole.manifest | {"plan": whole.plan | {"width": 0.5}})
    )

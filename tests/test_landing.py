"""The first page says what the records say, whatever that is, and no number of it is typed."""

import dataclasses
import html
import math
import re
from pathlib import Path
from typing import Any

import pytest
from matplotlib import pyplot

from dltlib import claims, experiments, figures, landing, paths, records
from dltlib.claims import NOT_REPRODUCED, REPRODUCED, UNDECIDED, VERDICTS

BOOK_RECORDS = paths.book() / "records"


@pytest.fixture(scope="module")
def given() -> landing.Answers:
    """The book's own records, and the verdicts by them."""
    return landing.Answers(BOOK_RECORDS)


def keep(name: str, figure: Any, alt: str) -> str:
    """In place of the site's: the picture's name is enough."""
    pyplot.close(figure)
    return f"[{name}]"


def test_every_verdict_has_an_answer_of_its_own() -> None:
    for question in landing.QUESTIONS:
        for claim, answers in question.answers.items():
            assert claim in claims.CLAIMS
            assert set(answers) == set(VERDICTS)
            assert len(set(answers.values())) == len(VERDICTS)


def test_no_number_is_typed() -> None:
    texts = [(paths.book() / "intro.md").read_text()]
    for question in landing.QUESTIONS:
        texts += [question.asked, question.meaning.replace(landing._MEAN, ""), question.alt]
        texts += [text for answers in question.answers.values() for text in answers.values()]
    for text in texts:
        found = re.findall(r"\d[\d.,]*\s*(?:%|points|seeds|percent)", text)
        assert set(found) <= {"95 %"}  # the confidence


def test_the_numbers_are_those_of_the_records(given: landing.Answers) -> None:
    page = landing.questions(given, keep)
    largest = records.largest("signs", "fc", directory=BOOK_RECORDS)
    table = records.read(largest, BOOK_RECORDS).table
    low, high = claims.THRESHOLDS.any_pruning
    looked = table[table["density"].between(low, high) & (table["round"] > 0)]
    means = looked.groupby(["arm", "seed"])["test_accuracy"].mean()
    lead = means["large_final/signed_constant/zero"] - means["large_final/reinit/zero"]
    assert f"<strong>+{100 * lead.mean():.2f} points</strong>" in page
    assert "[landing-signs]" in page


def test_answers_say_how_much_shorter_the_trainings_are(given: landing.Answers) -> None:
    page = html.unescape(landing.questions(given, keep))
    for claim, experiment in (("zeros-4", "criteria"), ("supermask-5", "learned_supermasks")):
        plan = given.evidence(claim).records[experiment, "fc"].plan
        whole = experiments.plan(experiment, preset="paper").epochs
        said = f"{plan['epochs']:,} of the paper's {whole:,} epochs"
        assert (said in page) == (plan["epochs"] < whole)


def test_a_card_says_where_its_claim_is_refuted(
    given: landing.Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though FC's verdict is another, and where with doubts; it says nothing where the claim is
    refuted on FC, too."""
    undecided_at_once: set[str] = set()
    otherwise_read: set[str] = set()

    def corrected(one: claims.Result) -> claims.Result:
        verdict = UNDECIDED if one.network in undecided_at_once else one.verdict
        return dataclasses.replace(one, verdict=verdict)

    monkeypatch.setattr(claims, "corrected", corrected)
    monkeypatch.setattr(
        landing, "_how_firmly", lambda one, _: "in 1" * (one.network in otherwise_read)
    )
    changed = landing.Answers(BOOK_RECORDS / "none")
    changed.shelf, changed.results = given.shelf, dict(given.results)

    def said(**verdicts: str) -> str:
        for network, verdict in verdicts.items():
            place = ("signs-3", network)
            changed.results[place] = dataclasses.replace(given.results[place], verdict=verdict)
        return landing._elsewhere(changed.results["signs-3", "fc"], changed)

    assert said(fc=REPRODUCED, conv2=REPRODUCED, conv4=UNDECIDED, conv6=REPRODUCED) == ""
    assert said(conv4=NOT_REPRODUCED) == "On Conv4, reduced, it does not hold."
    assert said(conv2=NOT_REPRODUCED) == "On Conv2 and Conv4, reduced, it does not hold."
    undecided_at_once.add("conv4")
    assert said() == (
        "On Conv2 and Conv4, reduced, it does not hold (on Conv4 not by every reading of the "
        "records)."
    )
    otherwise_read.add("conv2")
    assert "(on Conv2 and Conv4 not by every reading" in said()
    assert said(fc=NOT_REPRODUCED) == ""


@pytest.mark.parametrize("verdict", VERDICTS)
def test_another_verdict_gives_another_answer(given: landing.Answers, verdict: str) -> None:
    changed = landing.Answers(BOOK_RECORDS / "none")
    changed.shelf = given.shelf
    changed.results = {
        place: dataclasses.replace(result, verdict=verdict)
        for place, result in given.results.items()
    }
    page = landing.questions(changed, keep)
    for question in landing.QUESTIONS:
        for answers in question.answers.values():
            for other, text in answers.items():
                assert (text in page) == (other == verdict)
    count = sum(
        result.outcome == verdict for result in changed.results.values()
        if not claims.CLAIMS[result.claim].again
    )  # fmt: skip
    assert f"<strong>{count}</strong> {verdict}" in landing.tally(changed, keep)


def test_every_verdict_is_in_the_tally_and_leads_to_its_claim(given: landing.Answers) -> None:
    page = landing.tally(given, keep)
    first = {
        place: result
        for place, result in given.results.items()
        if not claims.CLAIMS[place[0]].again
    }
    for (claim, network), result in first.items():
        title = figures.NETWORK_NAMES[network]
        assert f"explorer.html#claim={claim}&amp;network={network}" in page
        assert f"{claim} on {title}: {result.outcome}" in page
    assert page.count("landing-mark") == len(first)


def test_a_claim_of_ones_own_has_a_place_in_the_tally(monkeypatch: pytest.MonkeyPatch) -> None:
    one = dataclasses.replace(claims.CLAIMS["zeros-1"], name="mine-1", sentence="mine is right")
    monkeypatch.setitem(claims.CLAIMS, "mine-1", one)
    own = landing.Answers(BOOK_RECORDS)
    assert "mine-1</a> mine is right</th>" in landing.tally(own, keep)


def test_the_picture_has_an_untrained_a_masked_and_a_trained_network(
    given: landing.Answers,
) -> None:
    shares = [float(x) for x in re.findall(r"<strong>([\d.]+) %", landing.picture(given, keep))]
    evidence = given.evidence("supermask-5")
    trained = claims.trained(evidence).mean()
    assert len(shares) == 3
    assert shares[0] < 2 * claims.CHANCE < shares[1] < shares[2]
    assert math.isclose(shares[2], trained, abs_tol=0.051)


def test_the_tally_says_what_was_found(given: landing.Answers) -> None:
    page = landing.tally(given, keep)
    on_fc = [
        result for (claim, network), result in given.results.items()
        if network == "fc" and not claims.CLAIMS[claim].again
    ]  # fmt: skip
    right = sum(result.verdict == claims.REPRODUCED for result in on_fc)
    assert f"On FC, {right} of {len(on_fc)} of the paper" in page
    sentences = [one for one in claims.CLAIMS.values() if not one.again]
    assert all(html.escape(part) in page for one in sentences for part in one.clauses)


def test_the_tally_tells_the_scale_of_every_record_that_it_rests_on() -> None:
    fresh = landing.Answers(BOOK_RECORDS)  # as the site has it, whose parts share nothing
    page = landing.tally(fresh, keep)
    used = {name for result in fresh.results.values() for name in result.records}
    assert used
    assert f"of the {len(used)} records behind" in page
    assert all(f"<li>{name}: " in page for name in used)


def test_without_records_the_page_says_so(tmp_path: Path) -> None:
    empty = landing.Answers(tmp_path)
    pages = {name: part(empty, keep) for name, part in landing.PARTS.items()}
    assert pages["questions"].count("no number yet") == len(landing.QUESTIONS)
    assert "No picture yet" in pages["picture"]
    assert "nan" not in "".join(pages.values())


def test_the_commands_are_the_libraries_own(given: landing.Answers) -> None:
    from dltlib import cli

    lines = landing.start(given, keep).split("<code>")[1].split("</code>")[0].splitlines()
    ours = [line.split("dltlib ")[1].split() for line in lines if "dltlib " in line]
    assert len(ours) == 2
    for words in ours:
        cli._parser().parse_args(words)

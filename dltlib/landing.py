"""The first page's answers: made from the records while the site is built, none typed by hand.

``book/intro.md`` asks for the parts by a directive::

    ```{landing} questions
    ```

`picture` is an untrained network as it is, masked, and trained; `questions` the paper's four, each
with its answer, its number, a small figure and its verdicts; `tally` every verdict there is;
`start` how to get to a result of one's own. A sentence that answers a question is chosen by the
verdict on its claim, so that new records change what the page says.

Pictures go into ``_figures`` beside the pages, where `dltlib.page` puts those of the chapters.
"""

import contextlib
import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dltlib import catalogue, claims, elsewhere, experiments, figures, page, paths, records
from dltlib.claims import NOT_MEASURED, NOT_REPRODUCED, REPRODUCED, UNDECIDED

NETWORK = "fc"
"""Whose records answer: the network on which the paper is clearest."""
_MARKS = {REPRODUCED: "✓", NOT_REPRODUCED: "✗", UNDECIDED: "?", NOT_MEASURED: "–"}


@dataclass(frozen=True)
class Question:
    """One of the paper's, and where its answer is to be found.

    ``answers`` gives, for one or two claims, what each verdict on it says; ``headline`` the number
    that stands large, and ``meaning`` what that is. ``details`` adds to the answer by a claim what
    its records say in numbers.
    """

    asked: str
    chapter: str
    answers: Mapping[str, Mapping[str, str]]
    headline: claims.Comparison
    meaning: str
    thumbnail: Callable[[claims.Evidence], Any]
    alt: str
    details: Mapping[str, Callable[[claims.Evidence], str]] = field(default_factory=dict)


def _accuracy_thumbnail(
    experiment: str, arms: Mapping[str, str]
) -> Callable[[claims.Evidence], Any]:
    def draw(evidence: claims.Evidence) -> Any:
        table = evidence.table(experiment, NETWORK)
        shown = table[table["density"] >= evidence.limits.any_pruning[0]]
        return figures.accuracy_thumbnail(shown, arms)

    return draw


def _zeros_thumbnail(evidence: claims.Evidence) -> Any:
    arms = {
        "large_final/rewind/zero": "zeroed",
        "large_final/rewind/freeze_init": "frozen",
    }
    return figures.lead_thumbnail(
        evidence.table("zeros", NETWORK), "large_final/rewind/freeze_init", arms
    )


def _masks_thumbnail(evidence: claims.Evidence) -> Any:
    return figures.learning_thumbnail(
        evidence.table("learned_supermasks", NETWORK),
        {"learned/initial/rescaled": "mask learned"},
        claims.interval(claims.trained(evidence) / 100),
    )


def _length(record: Any) -> str:
    """How long a record trains, beside the paper."""
    ours, theirs = record.plan["epochs"], _paper_epochs(record)
    return f"{ours:,} epochs" if ours >= theirs else f"{ours:,} of the paper's {theirs:,} epochs"


def _clear_sizes(evidence: claims.Evidence) -> str:
    """At how many sizes of tickets zeroing is clearly ahead of freezing, and clearly behind."""
    zero, frozen = (
        evidence.grid("zeros", f"large_final/rewind/{action}") for action in ("zero", "freeze_init")
    )
    leads = [claims.interval(lead) for round_, lead in (zero - frozen).items() if round_ > 0]
    ahead, behind = sum(low > 0 for _, low, _ in leads), sum(high < 0 for *_, high in leads)
    chance = len(leads) * (1 - evidence.limits.confidence)
    return (
        f"Of {len(leads)} sizes of tickets it is clearly ahead at {ahead}, clearly behind at "
        f"{behind} (by chance alone about {chance:.0f} would be either); at the others the two "
        "cannot be told apart."
    )


def _mostly_shrinking(evidence: claims.Evidence) -> str:
    """How many of the criteria that work prune mostly weights that were moving towards zero."""
    arms = [f"{name}/rewind/zero" for name in claims.WORKING]
    shares = [claims.share_among_pruned(arm, "pruned_shrunk_share")(evidence) for arm in arms]
    table = evidence.table("criteria", NETWORK)
    rows = table[(table["round"] == 1) & table["arm"].isin(arms)]
    first = 100 * rows.groupby("arm")["pruned_shrunk_share"].mean()
    mostly = sum(share.mean() > evidence.limits.mostly for share in shares)
    early = int((first > evidence.limits.mostly).sum())
    count = ["None", "One", "Two", "Three", "All"]
    return (
        f"{count[mostly]} of the four criteria that work {'prunes' if mostly < 2 else 'prune'} "
        f"mostly weights that were moving to zero; in the first round {count[early].lower()} "
        f"{'does' if early < 2 else 'do'} ({_length(evidence.records['criteria', NETWORK])})."
    )


def _trained_for(experiment: str) -> Callable[[claims.Evidence], str]:
    """How long tickets were trained that the answer is given by."""
    return lambda evidence: (
        f"Tickets were trained for {_length(evidence.records[experiment, NETWORK])}."
    )


def _learned_for(evidence: claims.Evidence) -> str:
    """How long masks were learned that the answer is given by, and what decides it."""
    (behind,) = (
        claims.compare(one, evidence)
        for one in claims.CLAIMS["supermask-5"].comparisons(evidence.network)
    )
    return (
        "The best of four kinds of masks, chosen on validation images, less the trained network of "
        f"the same seeds: {claims.in_brackets(behind)} points. They were learned for "
        f"{_length(evidence.records['learned_supermasks', NETWORK])}."
    )


_SIZES = "{:.0%} to {:.0%}".format(*claims.THRESHOLDS.any_pruning).replace(
    "%", "\N{NO-BREAK SPACE}%"
)
_MEAN = f"mean over tickets of {_SIZES} of the weights"

QUESTIONS = (
    Question(
        "Which weights have to be kept?",
        "criteria",
        {
            "criteria-4": {
                REPRODUCED: "Those that end large, or that grew: their tickets beat random ones, "
                "and keeping the small ones is the worst of all.",
                NOT_REPRODUCED: "Not simply those that the paper names: at least one of its good "
                "criteria fails to beat random choice, or its worst is not the worst.",
                UNDECIDED: "The large ones, the paper says; these records do not settle it.",
            }
        },
        claims.Comparison(
            "large_final − random",
            claims.ticket("criteria", "large_final/rewind/zero"),
            claims.ticket("criteria", "random/rewind/zero"),
        ),
        f"tickets that keep what ends large, over tickets kept by chance, {_MEAN}",
        _accuracy_thumbnail(
            "criteria",
            {
                "large_final/rewind/zero": "large kept",
                "random/rewind/zero": "chance",
                "small_final/rewind/zero": "small kept",
            },
        ),
        "Accuracy against the share of weights left, by what is kept: large weights, random ones, "
        "small ones.",
        {"criteria-4": _trained_for("criteria")},
    ),
    Question(
        "What must they start from?",
        "signs",
        {
            "signs-3": {
                REPRODUCED: "The sign is what counts: one constant a layer, each weight with its "
                "old sign, beats values drawn anew.",
                NOT_REPRODUCED: "More than a sign: constants with the old signs do not beat "
                "values drawn anew.",
                UNDECIDED: "Their old sign, the paper says; these records do not settle it.",
            },
            "signs-1": {
                REPRODUCED: "Whichever values of the old signs are tried, they come close to the "
                "old values, and beat the dense network.",
                NOT_REPRODUCED: "Not all values of the old signs that were tried come close to the "
                "old values and beat the dense network.",
                UNDECIDED: "Whether all three ways to keep the signs alone come close to the old "
                "values, and beat the dense network, is open.",
            },
        },
        claims.Comparison(
            "signed_constant − reinit",
            claims.ticket("signs", "large_final/signed_constant/zero"),
            claims.ticket("signs", "large_final/reinit/zero"),
        ),
        f"signed constants over values drawn anew, {_MEAN}",
        _accuracy_thumbnail(
            "signs",
            {
                "large_final/rewind/zero": "rewound",
                "large_final/signed_constant/zero": "sign only",
                "large_final/reinit/zero": "drawn anew",
            },
        ),
        "Accuracy against the share of weights left: kept weights rewound, reduced to their sign, "
        "or drawn anew.",
        {"signs-1": _trained_for("signs")},
    ),
    Question(
        "Why set the pruned ones to zero?",
        "zeros",
        {
            "zeros-1": {
                REPRODUCED: "On average zero beats freezing them where they began.",
                NOT_REPRODUCED: "On average zero is no better than freezing them where they began.",
                UNDECIDED: "Whether zero beats freezing them where they began is open.",
            },
            "zeros-4": {
                REPRODUCED: "Training was moving them there anyway.",
                NOT_REPRODUCED: "The paper\u2019s reason, that training was moving them there "
                "anyway, is not true of most of them.",
                UNDECIDED: "Whether training was moving them there anyway is open.",
            },
        },
        claims.Comparison(
            "zero − freeze_init",
            claims.ticket("zeros", "large_final/rewind/zero"),
            claims.ticket("zeros", "large_final/rewind/freeze_init"),
        ),
        f"pruned weights at zero, over pruned weights frozen at their initial values, {_MEAN}",
        _zeros_thumbnail,
        "The lead of zeroing over freezing pruned weights at their initial values, in points, "
        "against the share of weights left.",
        {"zeros-1": _clear_sizes, "zeros-4": _mostly_shrinking},
    ),
    Question(
        "Can choosing replace training?",
        "learned",
        {
            "supermask-5": {
                REPRODUCED: "Yes: a mask over weights that were never trained reads digits as well "
                "as the trained network.",
                NOT_REPRODUCED: "Nearly: a mask over weights that were never trained reads digits, "
                "and stays measurably behind the trained network.",
                UNDECIDED: "A mask over weights that were never trained reads digits; how near it "
                "comes to the trained network is open.",
            }
        },
        claims.Comparison(
            "learned mask", claims.OUR_TABLE_2["learned + DWR, w_i"], unit=claims.PERCENT
        ),
        "test accuracy of a network that was never trained, under a learned mask (over its initial "
        "weights, rescaled)",
        _masks_thumbnail,
        "Accuracy of a learned mask over the epochs, rising from chance nearly to the trained "
        "network's.",
        {"supermask-5": _learned_for},
    ),
)


class Answers:
    """What the parts read: the records of a directory (default: the book's) and all verdicts."""

    def __init__(self, directory: Path | None = None) -> None:
        self.shelf = claims.Shelf(directory)
        self.results = {
            (result.claim, result.network): result
            for result in claims.scorecard(directory=directory)
        }

    def evidence(self, claim: str) -> claims.Evidence:
        """The records that a claim is judged by."""
        return claims.Evidence(self.shelf.choose(claims.CLAIMS.find(claim), NETWORK), NETWORK)


# --- the parts -----------------------------------------------------------------------------------


def questions(given: Answers, keep: Callable[[str, Any, str], str]) -> str:
    """The four questions as cards. ``keep`` stores a figure under a name, with its alt text, and
    returns the HTML that shows it."""
    return (
        f'<div class="landing-questions">{"".join(_card(q, given, keep) for q in QUESTIONS)}</div>'
    )


def _card(question: Question, given: Answers, keep: Callable[[str, Any, str], str]) -> str:
    results = {claim: given.results[claim, NETWORK] for claim in question.answers}
    evidence = given.evidence(next(iter(question.answers)))
    part = claims.compare(question.headline, evidence)
    said = []
    for claim, result in results.items():
        said.append(question.answers[claim][result.verdict])
        said += [_how_firmly(result, given), _elsewhere(result, given)]
        if claim in question.details and result.records:
            with contextlib.suppress(claims.Undecided):
                said.append(question.details[claim](given.evidence(claim)))
    answer = " ".join(filter(None, said))
    try:
        picture = keep(f"landing-{question.chapter}", question.thumbnail(evidence), question.alt)
    except claims.Undecided:
        picture = ""
    verdicts = "".join(_verdict(result, given) for result in results.values())
    return (
        f'<section class="landing-card"><h3><a href="{question.chapter}.html">'
        f"{html.escape(question.asked)}</a></h3><p>{html.escape(answer)}</p>"
        f'<p class="landing-number"><strong>{_large(part)}</strong> '
        f"{html.escape(question.meaning)}{_interval(part)}</p>"
        f'<a class="landing-thumbnail" href="{question.chapter}.html" '
        f'aria-label="To the chapter: {html.escape(question.asked)}">{picture}</a>'
        f'<ul class="landing-verdicts">{verdicts}</ul></section>'
    )


def _how_firmly(result: claims.Result, given: "Answers") -> str:
    """In how many other readings of the records an answer stays, if not in all."""
    _, *others = claims.readings_of(result, given.shelf.directory)
    same = sum(one.verdict == result.verdict for one in others)
    if result.verdict == UNDECIDED or same == len(others):
        return ""
    return f"Read in {len(others)} other ways, the records say so in {same}."


def _elsewhere(result: claims.Result, given: "Answers") -> str:
    """Where a claim is refuted that is not on FC, and where not in every reading of the records or
    not with all its intervals held at once."""
    if result.verdict == NOT_REPRODUCED:
        return ""
    refuted = [
        one
        for network in claims.NETWORKS
        if (one := given.results[result.claim, network]).verdict == NOT_REPRODUCED
    ]
    if not refuted:
        return ""
    shaky = [
        _title(one.network)
        for one in refuted
        if claims.corrected(one).verdict != NOT_REPRODUCED or _how_firmly(one, given)
    ]
    but = f" (on {page.listed(shaky)} not by every reading of the records)" if shaky else ""
    return (
        f"On {page.listed(_title(one.network) for one in refuted)}, reduced, it does not hold{but}."
    )


def _large(part: claims.Part) -> str:
    if math.isnan(part.effect):
        return "no number yet"
    if part.unit == claims.PERCENT:
        return f"{part.effect:.1f} %"
    return f"{part.effect:+.2f} points".replace("-", "\N{MINUS SIGN}")


def _interval(part: claims.Part) -> str:
    if math.isnan(part.low):
        return ""
    decimals = 1 if part.unit == claims.PERCENT else 2
    ends = " to ".join(f"{end:.{decimals}f}" for end in part.ends())
    ends = ends.replace("-", "\N{MINUS SIGN}")
    return f" (95 % interval {ends}; {part.seeds} seeds)"


def _verdict(result: claims.Result, given: Answers) -> str:
    others = " ".join(
        f'<span class="landing-other">{_title(network)} '
        f"{_mark(given.results[result.claim, network])}</span>"
        for network in claims.NETWORKS
        if network != NETWORK
    )
    return (
        f'<li><a class="landing-verdict {_kind(result.outcome)}" href="{_explorer(result)}">'
        f"{_MARKS[result.outcome]} {result.claim}: {result.outcome}</a> on {_title(NETWORK)}; "
        f"{others}</li>"
    )


def _mark(result: claims.Result) -> str:
    """A verdict as a sign that links to the claim."""
    state = result.outcome
    said = f"{result.claim} on {_title(result.network)}: {state}"
    if result.reason:
        said += f" ({result.reason})"
    return (
        f'<a class="landing-mark {_kind(state)}" href="{_explorer(result)}" '
        f'title="{html.escape(said)}" aria-label="{html.escape(said)}">{_MARKS[state]}</a>'
    )


def _kind(verdict: str) -> str:
    """A verdict as a class of the style sheet."""
    return verdict.replace(" ", "-")


def _explorer(result: claims.Result) -> str:
    return f"explorer.html#claim={result.claim}&amp;network={result.network}"


def _title(network: str) -> str:
    return figures.NETWORK_NAMES[network]


def picture(given: Answers, keep: Callable[[str, Any, str], str]) -> str:
    """The one picture: what FC reads before training, under a learned mask, and trained."""
    evidence = given.evidence("supermask-5")
    ways = {
        "as it was drawn": claims.dense("supermasks", "large_final/initial/plain"),
        "the same weights, under a learned mask": claims.OUR_TABLE_2["learned + DWR, w_i"],
        "trained": claims.trained,
    }
    try:
        values = {name: measure(evidence) for name, measure in ways.items()}
    except claims.Undecided as reason:
        return f"<p>No picture yet: {html.escape(str(reason))}.</p>"
    rows = []
    for name, one in values.items():
        mean, low, high = claims.interval(one)
        few = f"{len(one)} seed{'s' * (len(one) > 1)}"
        ends = few if math.isnan(low) else f"{low:.1f} to {high:.1f}"
        rows.append(
            f'<div class="landing-bar"><span class="landing-bar-name">{name}</span>'
            f'<span class="landing-bar-track"><span style="width:{mean:.2f}%"></span></span>'
            f'<span class="landing-bar-value"><strong>{mean:.1f} %</strong> '
            f"<small>[{ends}]</small></span></div>"
        )
    seeds = ", ".join(str(len(one)) for one in values.values())
    data = evidence.records["supermasks", NETWORK].plan["dataset"].upper()
    return (
        '<figure class="landing-picture"><p class="landing-picture-title">'
        f"Of the test images of {data}, a network reads</p>{''.join(rows)}"
        f"<figcaption>{_title(NETWORK)}: means over {seeds} seeds (from above), 95 % intervals in "
        "brackets. In the second row no weight was ever trained: what was learned is which of them "
        "take part, and each layer is rescaled by how many do. "
        '<a href="playground.html">Learn such a mask in your browser</a>, or read '
        '<a href="learned.html">how it is done</a>.'
        "</figcaption></figure>"
    )


def tally(given: Answers, keep: Callable[[str, Any, str], str]) -> str:
    """Every claim on every network: what was found in a sentence, and a table of signs that link
    to the explorer.

    A sentence counts once: a second registration of a claim is the scorecard's to explain.
    """
    sentences = [one for one in claims.CLAIMS.values() if not one.again]
    shown = [given.results[one.name, n] for one in sentences for n in claims.NETWORKS]
    heads = "".join(f'<th scope="col">{_title(network)}</th>' for network in claims.NETWORKS)
    lines = []
    for one in sentences:
        marks = [_mark(given.results[one.name, network]) for network in claims.NETWORKS]
        each, last_clause = one.clauses
        lines.append(_line(one, each, "".join(f"<td>{mark}</td>" for mark in marks)))
        if between := given.results.get((one.name, claims.ALL_NETWORKS)):
            shown.append(between)
            cell = f'<td colspan="{len(claims.NETWORKS)}">{_mark(between)}</td>'
            lines.append(_line(one, f"\u2026 {last_clause}", cell))
    words = "".join(
        f'<span class="landing-count {_kind(state)}">{_MARKS[state]} '
        f"<strong>{sum(result.outcome == state for result in shown)}</strong> {state}</span> "
        for state in _MARKS
    )
    return (
        f"<p>{_found(shown)} The paper\u2019s findings are {len(sentences)} sentences here, judged "
        'by thresholds that were registered before the records (<a href="scorecard.html">with '
        f'what was changed since</a>).</p><p class="landing-counts">{words}</p>'
        '<div class="table-region" role="region" aria-label="Verdicts by claim and network" '
        'tabindex="0"><table class="landing-tally"><thead>'
        f'<tr><th scope="col">the paper says</th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>{_scales(given)}"
    )


def _line(one: claims.Claim, said: str, cells: str) -> str:
    name = f'<a href="scorecard.html#{one.name}">{one.name}</a>'
    return f'<tr><th scope="row">{name} {html.escape(said)}</th>{cells}</tr>'


def _found(shown: Sequence[claims.Result]) -> str:
    """What was found, in two sentences."""
    ours = [result for result in shown if result.network == NETWORK]
    others = [one for one in shown if one.network not in (NETWORK, claims.ALL_NETWORKS)]
    right, wrong = (
        sum(result.verdict == verdict for result in ours)
        for verdict in (REPRODUCED, NOT_REPRODUCED)
    )
    decided = sum(result.verdict != UNDECIDED for result in others)
    return (
        f"On {_title(NETWORK)}, {right} of {len(ours)} of the paper\u2019s sentences are "
        f"reproduced, {wrong} are not, and {len(ours) - right - wrong} are open. On the "
        f"convolutional networks, all of them reduced here, {decided} of {len(others)} verdicts "
        "are decided."
    )


def _scales(given: Answers) -> str:
    """What the verdicts rest on: the scale of tickets in a line, and that of each record beside
    the paper's, folded."""
    names = {name for result in given.results.values() for name in result.records}
    used = [records.read(name, given.shelf.directory) for name in sorted(names)]
    told = [page.beside_the_paper(record) for record in used]
    smaller = sum(page.smaller(record) for record in used)
    lines = "".join(f"<li>{html.escape(line.replace('`', ''))}</li>" for line in told)
    scales: dict[str, list[str]] = {}
    for record in sorted(used, key=lambda one: claims.NETWORKS.index(one.plan["network"])):
        experiment, network = record.plan["experiment"], record.plan["network"]
        if catalogue.EXPERIMENTS[experiment].kind == "tickets":
            scales.setdefault(f"{_title(network)}, {page.scale(record)}", []).append(experiment)
    tickets = "".join(
        f"<li>{html.escape(scale)} ({', '.join(of)})</li>" for scale, of in scales.items()
    )
    scale = f"<p>Tickets were trained at these scales:</p><ul>{tickets}</ul>" if tickets else ""
    return (
        f'{scale}<details class="fold"><summary>{smaller} of the {len(used)} records behind these '
        "verdicts are smaller than the paper\u2019s: every record\u2019s scale</summary>"
        f"<ul>{lines}</ul></details>"
    )


def _paper_epochs(record: Any) -> int:
    plan = record.plan
    return experiments.plan(plan["experiment"], plan["network"], "paper").epochs


def start(given: Answers, keep: Callable[[str, Any, str], str]) -> str:
    """From nothing to a result of one's own; licence, how to cite, and where the code is."""
    address = elsewhere.repository()
    copy = (
        f"git clone {address} lottery && cd lottery"
        if address
        else "cd lottery  # a copy of the repository that this site was built from"
    )
    commands = "\n".join(
        (
            copy,
            "make install",
            ".venv/bin/dltlib run signs --arms large_final/rewind large_final/reinit --rounds 6",
            ".venv/bin/dltlib claims --network fc",
        )
    )
    seeds = experiments.plan("signs", preset="tiny").seeds
    code = f'<a href="{address}">The repository</a>' if address else "The repository"
    return (
        f'<pre class="landing-commands"><code>{html.escape(commands)}</code></pre>'
        "<p>The third line trains tickets that keep their initial values, and tickets with new "
        f"ones, {seeds} seeds of each, on the 8 × 8 digits that come with scikit-learn, and says "
        "their accuracy; the fourth judges the paper's sentences by the records that are here. "
        "Nothing is downloaded but Python packages.</p>"
        f"<p>{code} holds the chapters, the library, the records and the tests, under the MIT "
        f"licence. To cite: <cite>{html.escape(_citation())}</cite>, together with the paper.</p>"
    )


def _citation() -> str:
    import yaml

    said = yaml.safe_load((paths.REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    names = ", ".join(author.get("name", "") for author in said["authors"])
    return f"{names}, {said['title']}, version {said['version']}"


PARTS = {"picture": picture, "questions": questions, "tally": tally, "start": start}


# --- Sphinx --------------------------------------------------------------------------------------


def setup(app: Any) -> dict[str, bool]:
    """Let Sphinx know the directive ``landing``."""
    from docutils import nodes
    from sphinx.util.docutils import SphinxDirective

    class Landing(SphinxDirective):
        required_arguments = 1

        def run(self) -> list[Any]:
            part = PARTS.get(self.arguments[0])
            if part is None:
                raise self.error(f"landing: choose one of {', '.join(PARTS)}")
            source = Path(app.srcdir)
            given = Answers(source / "book" / "records")

            def keep(name: str, figure: Any, alt: str) -> str:
                to_root = "../" * self.env.docname.count("/")
                return page.written(page.forms_of(figure), Path(app.outdir), name, alt, to_root)

            return [nodes.raw("", part(given, keep), format="html")]

    app.add_directive("landing", Landing)
    return {"parallel_read_safe": True}

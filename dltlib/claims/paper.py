"""The paper's claims: each a sentence and the comparisons that it comes down to (section 7).

To add one, decorate a function that yields its comparisons, here or in a module of your own.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from dltlib import catalogue
from dltlib.claims.measures import (
    Measure,
    best_learned_mask,
    by_mean,
    criterion_mask,
    dense,
    errors_mended,
    learned_mask,
    rescaling_gain,
    share_among_pruned,
    slope,
    ticket,
    trained,
)
from dltlib.claims.statistics import ERRORS, PERCENT, SLOPE, Comparison
from dltlib.errors import UserError
from dltlib.records import Record
from dltlib.registry import Registry

Comparisons = Callable[[str], Iterator[Comparison]]  # of a claim, on a network
ALL_NETWORKS = "all"  # in place of a network, for what compares networks with one another


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper and the comparisons that it comes down to on a network.

    ``across`` says whether there is something to compare between networks too: the sentence's last
    clause, behind a comma, says what. ``again`` names the
    claim of which this is a second registration, where a threshold of the first was badly made:
    both verdicts are shown, and the first alone is counted.
    """

    name: str
    sentence: str
    experiments: tuple[str, ...]
    comparisons: Comparisons
    across: bool = False
    again: str | None = None

    @property
    def reading(self) -> str:
        """How the sentence was made into comparisons."""
        return " ".join((self.comparisons.__doc__ or "").split())

    @property
    def clauses(self) -> tuple[str, str]:
        """What the sentence says of each network, and what between them (nothing: "")."""
        each, _, between = (
            self.sentence.rpartition(", ") if self.across else (self.sentence, "", "")
        )
        return each, between

    @property
    def section(self) -> str:
        """criteria, signs, zeros or supermask; of a claim of one's own, what it is called by."""
        return self.name.partition("-")[0]

    @property
    def number(self) -> str:
        """What tells it from the other claims of its section: "3b" of supermask-3b."""
        return self.name.partition("-")[2]


CLAIMS: Registry[Claim] = Registry("claim")


def claim(
    sentence: str, *experiments: str, across: bool = False, again: str | None = None
) -> Callable[[Comparisons], Comparisons]:
    """Register the decorated function, ``section_number``, as the claim ``section-number``.

    Raises `UserError` for a function of another name: pages sort claims by section.

    >>> @claims.claim("large_final tickets beat random ones", "criteria")
    ... def mine_1(network):
    ...     arms = [claims.ticket("criteria", arm) for arm in plan.arms]
    ...     yield claims.Comparison("large_final − random", *arms)
    >>> claims.judge("mine-1", {("criteria", "fc"): record}).verdict
    'reproduced'
    >>> del claims.CLAIMS["mine-1"]
    """

    def register(comparisons: Comparisons) -> Comparisons:
        name = comparisons.__name__
        section, _, number = name.partition("_")
        if not (section and number):
            raise UserError(
                f"the function of a claim is named section_number, as in signs_4, not {name!r}"
            )
        found = Claim(name.replace("_", "-"), sentence, experiments, comparisons, across, again)
        CLAIMS.add(found)
        return comparisons

    return register


def _criterion(name: str, window: str = "any_pruning") -> Measure:
    return ticket("criteria", f"{name}/rewind/zero", window)


def _mask1(name: str, window: str = "any_pruning") -> Measure:
    return ticket("signs", f"large_final/{name}/zero", window)


def _mask0(name: str, window: str = "any_pruning") -> Measure:
    return ticket("zeros", f"large_final/rewind/{name}", window)


# What of ours stands beside each of its columns.
OUR_TABLE_2: dict[str, Measure] = {
    "criterion mask, w_i": criterion_mask("large_final_same_sign/initial/plain"),
    "criterion mask, S.C.": criterion_mask("large_final_same_sign/constant/plain"),
    "learned mask, w_i": learned_mask("learned/initial/plain"),
    "learned mask, S.C.": learned_mask("learned/constant/plain"),
    "learned + DWR, w_i": learned_mask("learned/initial/rescaled"),
    "learned + DWR, S.C.": learned_mask("learned/constant/rescaled"),
    "trained weights": trained,
}


def _difference(network: str, left: str, right: str) -> float:
    """Between two figures of the paper's table 2."""
    figures = catalogue.TABLE_2[network]
    return round(figures[left] - figures[right], 1)


def _paper_gain(networks: Sequence[str]) -> float:
    """What the paper's table 2 gives for `rescaling_gain`."""
    gains = [
        _difference(network, f"learned + DWR, {values}", f"learned mask, {values}")
        for network in networks
        for values in ("w_i", "S.C.")
    ]
    return round(sum(gains) / len(gains), 2)


# The criteria that work, by the paper; those it compares them with.
WORKING = ("large_final", "magnitude_increase", "movement", "large_init_large_final")
OTHERS = ("random", "large_init", "small_init", "small_init_small_final")
PAIRS = (
    ("large_final", "small_final"),
    ("large_init", "small_init"),
    ("large_init_large_final", "small_init_small_final"),
)
# The mask-1 actions that draw new values; each with random signs, and as signed_ with kept ones.
NEW_VALUES = ("reinit", "reshuffle", "constant")


@claim(
    "large_final tickets reach or pass the dense network's accuracy at moderate pruning", "criteria"
)
def criteria_1(network: str) -> Iterator[Comparison]:
    """Mean accuracy of tickets at moderate pruning, no further below the dense network's than the
    margin."""
    yield Comparison(
        "large_final − dense, moderate pruning",
        _criterion("large_final", "moderate_pruning"),
        dense("criteria"),
        "match",
    )


@claim("magnitude_increase does as well as large_final, or better", "criteria")
def criteria_2(network: str) -> Iterator[Comparison]:
    """Mean over densities from 1 to 85 %; no further below than the margin."""
    yield Comparison(
        "magnitude_increase − large_final",
        _criterion("magnitude_increase"),
        _criterion("large_final"),
        "match",
    )


@claim(
    "in each opposite pair (large/small final, large/small init, the two joint ones) one side "
    "beats random and the other loses to it",
    "criteria",
)
def criteria_3(network: str) -> Iterator[Comparison]:
    """Mean over densities from 1 to 85 %. Which side is the good one is no part of the claim: it is
    the one with the higher mean."""
    for pair in PAIRS:
        sides = {name: _criterion(name) for name in pair}
        named = " and ".join(pair)
        yield Comparison(f"better of {named} − random", by_mean(max, sides), _criterion("random"))
        yield Comparison(f"random − worse of {named}", _criterion("random"), by_mean(min, sides))


@claim(
    "large_final, magnitude_increase, movement and large_init_large_final beat random; "
    "small_final is the worst",
    "criteria",
)
def criteria_4(network: str) -> Iterator[Comparison]:
    """Mean over densities from 1 to 85 %; small_final must lie below the lowest of the other
    eight."""
    for name in WORKING:
        yield Comparison(f"{name} − random", _criterion(name), _criterion("random"))
    yield Comparison(
        "worst of the others − small_final",
        by_mean(min, {name: _criterion(name) for name in (*WORKING, *OTHERS)}),
        _criterion("small_final"),
    )


@claim(
    "kept signs: signed reinit, reshuffle and constant come close to rewinding and pass the "
    "dense network",
    "signs",
)
def signs_1(network: str) -> Iterator[Comparison]:
    """Each of the three at moderate pruning: behind rewinding by no more than the margin, and
    above the dense network."""
    for name in NEW_VALUES:
        ours = _mask1(f"signed_{name}", "moderate_pruning")
        yield Comparison(
            f"signed_{name} − rewind, moderate pruning",
            ours,
            _mask1("rewind", "moderate_pruning"),
            "close",
        )
        yield Comparison(f"signed_{name} − dense, moderate pruning", ours, dense("signs"))


@claim(
    "random signs: reinit, reshuffle and constant fall behind rewinding, by more the more is "
    "pruned",
    "signs",
)
def signs_2(network: str) -> Iterator[Comparison]:
    """Each of the three: the lead of rewinding, averaged over densities from 1 to 85 %, is above 0,
    and so is its growth with every halving of the density."""
    for name in NEW_VALUES:
        yield Comparison(f"rewind − {name}", _mask1("rewind"), _mask1(name))
        yield Comparison(
            f"growth of rewind − {name}",
            slope("signs", "large_final/rewind/zero", f"large_final/{name}/zero"),
            unit=SLOPE,
        )


@claim("the sign matters more than the value: signed_constant beats reinit", "signs")
def signs_3(network: str) -> Iterator[Comparison]:
    """Mean over densities from 1 to 85 %."""
    yield Comparison("signed_constant − reinit", _mask1("signed_constant"), _mask1("reinit"))


@claim("zeroing pruned weights beats freezing them at their initial values", "zeros")
def zeros_1(network: str) -> Iterator[Comparison]:
    """Mean over densities from 1 to 85 %."""
    yield Comparison("zero − freeze_init", _mask0("zero"), _mask0("freeze_init"))


@claim("variant_1 matches zeroing at low pruning and beats it at high pruning", "zeros")
def zeros_2(network: str) -> Iterator[Comparison]:
    """At low pruning no further below than the margin; at high pruning above."""
    yield Comparison(
        "variant_1 − zero, low pruning",
        _mask0("variant_1", "low_pruning"),
        _mask0("zero", "low_pruning"),
        "match",
    )
    yield Comparison(
        "variant_1 − zero, high pruning",
        _mask0("variant_1", "high_pruning"),
        _mask0("zero", "high_pruning"),
    )


@claim("variant_2 does at least as well as variant_1", "zeros")
def zeros_3(network: str) -> Iterator[Comparison]:
    """Mean over densities from 1 to 85 %; no further below than the margin."""
    yield Comparison("variant_2 − variant_1", _mask0("variant_2"), _mask0("variant_1"), "match")


@claim(
    "masking is training: the criteria that work zero mostly weights that were moving towards "
    "zero anyway",
    "criteria",
)
def zeros_4(network: str) -> Iterator[Comparison]:
    """Of all weights that each criterion prunes, those that training had just moved towards zero:
    more than half, and a larger share than among all weights that could have been pruned."""
    for name in WORKING:
        pruned, candidates = (
            share_among_pruned(f"{name}/rewind/zero", column)
            for column in ("pruned_shrunk_share", "shrunk_share")
        )
        yield Comparison(
            f"share moving to zero of what {name} prunes",
            pruned,
            bar="mostly",
            unit=PERCENT,
        )
        yield Comparison(f"the same − share among all candidates ({name})", pruned, candidates)


@claim(
    "large_final masks on untrained networks do far better than chance, and "
    "large_final_same_sign better still",
    "supermasks",
)
def supermask_1(network: str) -> Iterator[Comparison]:
    """Each mask at the density that validation accuracy chooses. The paper's figure is for the
    better of the two."""
    plain, same_sign = (
        criterion_mask(f"{name}/initial/plain") for name in ("large_final", "large_final_same_sign")
    )
    yield Comparison("large_final mask", plain, bar="far_above_chance", unit=PERCENT)
    yield Comparison(
        "large_final_same_sign mask",
        same_sign,
        bar="far_above_chance",
        unit=PERCENT,
        paper=catalogue.TABLE_2[network]["criterion mask, w_i"],
    )
    yield Comparison("large_final_same_sign − large_final", same_sign, plain)


@claim("signed constants do better under these masks than the initial values", "supermasks")
def supermask_2(network: str) -> Iterator[Comparison]:
    """Each mask at the density that validation accuracy chooses."""
    for name in ("large_final", "large_final_same_sign"):
        best = name == "large_final_same_sign"  # the one that the paper gives figures of
        yield Comparison(
            f"S.C. − w_i, {name} mask",
            criterion_mask(f"{name}/constant/plain"),
            criterion_mask(f"{name}/initial/plain"),
            paper=_difference(network, "criterion mask, S.C.", "criterion mask, w_i")
            if best
            else None,
        )


@claim(
    "learned masks do far better than criterion masks",
    "supermasks",
    "learned_supermasks",
)
def supermask_3(network: str) -> Iterator[Comparison]:
    """Without rescaling, against the best of the paper's criteria, large_final_same_sign, at the
    density that validation accuracy chooses; for w_i and for signed constants."""
    for values, short in (("initial", "w_i"), ("constant", "S.C.")):
        yield Comparison(
            f"learned − large_final_same_sign, {short}",
            learned_mask(f"learned/{values}/plain"),
            criterion_mask(f"large_final_same_sign/{values}/plain"),
            "far_better",
            paper=_difference(network, f"learned mask, {short}", f"criterion mask, {short}"),
        )


REGISTERED_AGAIN = "2026-11-24T19:06:40+00:00"  # when supermask-3b was committed


def foretold(judges: Iterable[Record]) -> bool:
    """Whether supermask-3b was registered before all records that judge it were finished.

    >>> claims.foretold([records.read("learned_supermasks-fc-cpu")])
    False
    """
    return all(record.manifest["finished"] > REGISTERED_AGAIN for record in judges)


@claim(
    "learned masks do far better than criterion masks (registered a second time)",
    "supermasks",
    "learned_supermasks",
    again="supermask-3",
)
def supermask_3b(network: str) -> Iterator[Comparison]:
    """As supermask-3, but by the share of the criterion mask's errors that the learned mask does
    not make: more than a quarter, seed by seed."""
    # Registered on 2026-11-24, before any record of learned masks at the paper's scale, and before
    # any of masks on convolutions wider than an eighth. Why again: the first threshold asks for 5
    # points whatever is left to gain. Under a ceiling of 98 % (FC) a criterion mask at 93 % cannot
    # be beaten by 5 points at all, and masks of single seeds come near it; from 24 % (the paper's
    # Conv6) 5 points are hardly "far". Worse, where the better side stands at the ceiling, a
    # difference in points measures how badly the criterion's mask did with that seed. A share of
    # the errors means the same everywhere. Why a quarter: it is the share that "come close to" was
    # registered with, so that no new number is chosen. Far better is further than close.
    # What was known: the records at hand. By them FC passes for both kinds of values (70 and 64 %
    # of the errors, intervals from 56 and 37 %); had the bar been a half, S.C. would be undecided.
    # The paper's own table has 77 and 74 % on FC, 41 to 55 % on the others.
    for values, short in (("initial", "w_i"), ("constant", "S.C.")):
        figures = catalogue.TABLE_2[network]
        criterion = figures[f"criterion mask, {short}"]
        yield Comparison(
            f"share of large_final_same_sign's errors that learned masks mend, {short}",
            errors_mended(
                learned_mask(f"learned/{values}/plain"),
                criterion_mask(f"large_final_same_sign/{values}/plain"),
            ),
            bar="mends_far_more",
            unit=ERRORS,
            paper=round(
                100 * (figures[f"learned mask, {short}"] - criterion) / (100 - criterion), 1
            ),
        )


SHALLOW, DEEP = ("fc", "conv2"), ("conv4", "conv6")


@claim(
    "dynamic weight rescaling improves learned masks, most for the deeper networks",
    "learned_supermasks",
    across=True,
)
def supermask_4(network: str) -> Iterator[Comparison]:
    """On each network the gain must be above 0; between networks, that of the deeper two must be
    larger than that of the other two."""
    # By the paper's own table, signed constants on Conv2 lose by rescaling: so the mean of both
    # kinds of values is what has to gain.
    if network == ALL_NETWORKS:
        yield Comparison(
            "gain by rescaling, Conv4 and Conv6 − FC and Conv2",
            rescaling_gain(DEEP),
            rescaling_gain(SHALLOW),
            paper=round(_paper_gain(DEEP) - _paper_gain(SHALLOW), 1),
        )
    else:
        yield Comparison(
            "gain by rescaling, mean of w_i and S.C.",
            rescaling_gain(),
            paper=_paper_gain([network]),
        )


@claim(
    "the best learned masks come close to the trained network's accuracy (FC: match it)",
    "supermasks",
    "learned_supermasks",
)
def supermask_5(network: str) -> Iterator[Comparison]:
    """The learned mask that validation accuracy chooses among the four kinds, against the dense
    network trained for the criterion masks."""
    figures = catalogue.TABLE_2[network]
    best = max(figures[column] for column in figures if column.startswith("learned"))
    yield Comparison(
        "best learned mask − trained network",
        best_learned_mask,
        trained,
        "match" if network == "fc" else "close",
        paper=round(best - figures["trained weights"], 1),
    )

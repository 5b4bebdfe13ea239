"""A record's scale in words, beside the paper's, and what it may do to a comparison."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dltlib.claims import Evidence
    from dltlib.records import Record


def beside_the_paper(record: "Record") -> str:
    """A record's scale in a line: what is as in the paper, and what is less."""
    from dltlib import catalogue

    plan = record.plan
    told = []
    if plan["width"] != 1:
        told.append(f"{plan['width']:g} of the width")
    if plan["train_images"] is not None:
        whole = catalogue.DATASETS[plan["dataset"]].train
        told.append(f"{plan['train_images']:,} of {whole:,} training images")
    counts = _counts_of_the_paper(record)
    for name in ("seeds", "epochs", "rounds"):
        short = plan[name] < counts.get(name, 0)
        of = f" of the paper's {counts[name]:,}" if short else ""
        if plan[name]:
            told.append(f"{plan[name]:,}{of} {name}")
    told += _other_rate(record)
    return f"`{record.name}`: {record.subject()}, {', '.join(told)}."


def smaller(record: "Record") -> bool:
    """Whether its width, images, seeds, epochs or rounds are less than the paper's."""
    plan = record.plan
    whole = _counts_of_the_paper(record)
    reduced = plan["width"] != 1 or plan["train_images"] is not None
    return reduced or any(plan[name] < count for name, count in whole.items())


def _counts_of_the_paper(record: "Record") -> dict[str, int]:
    """The paper's seeds, epochs and rounds for a record's experiment, as far as it gives them."""
    from dltlib import catalogue, experiments

    plan = record.plan
    paper = experiments.plan(plan["experiment"], plan["network"], "paper")
    counts = {"seeds": paper.seeds, "epochs": paper.epochs, "rounds": paper.rounds}
    if _learned(record) and catalogue.NETWORKS[plan["network"]].channels:
        del counts["epochs"]  # it says how long masks learn on FC alone
    return {name: count for name, count in counts.items() if count}


def scale(record: "Record") -> str:
    """What of its network and data a record uses, and for how long: its scale for a table.

    >>> from dltlib import records
    >>> scale(records.read("supermasks-fc-paper"))
    'full width, all images, 55 epochs, 24 rounds, 5 seeds'
    >>> scale(records.read("criteria-fc-tiny"))
    'full width, all images, 8 epochs, 8 rounds, 3 seeds'
    """
    plan = record.plan
    images = plan["train_images"]
    told = [
        "full width" if plan["width"] == 1 else f"width {plan['width']:g}",
        "all images" if images is None else f"{images:,} images",
        f"{plan['epochs']:,} epochs",
    ]
    if plan["rounds"]:
        told.append(f"{plan['rounds']} rounds")
    told += _other_rate(record)
    return ", ".join([*told, f"{plan['seeds']} seed{'s' * (plan['seeds'] != 1)}"])


def titled(record: "Record") -> str:
    """A record's network and data, and the scale of both.

    >>> from dltlib import records
    >>> titled(records.read("criteria-fc-tiny"))
    'FC on digits, full width, all images, 8 epochs, 8 rounds, 3 seeds'
    """
    return f"{record.subject()}, {scale(record)}"


def fewer_seeds(record: "Record") -> str:
    """A sentence on what it means that a record has fewer seeds than the paper; empty if not."""
    from dltlib import claims

    ours, whole = record.plan["seeds"], _counts_of_the_paper(record)["seeds"]
    if ours >= whole:
        return ""
    if ours < claims.FEWEST:
        return f" Seeds are {ours} of the paper's {whole}, too few for an interval."
    wider = claims.half_width(1.0, ours) / claims.half_width(1.0, whole)
    return (
        f" Seeds are {ours} of the paper's {whole}: if they scatter alike, intervals are "
        f"{wider:.1f} times as wide."
    )


def learning_sooner(evidence: "Evidence", experiment: str, arm: str) -> str:
    """What a training shorter than the paper's may do for tickets, in two sentences: that they may
    learn faster than the dense network, and by how much theirs of moderate pruning do."""
    from dltlib import claims

    iterations = evidence.grid(experiment, arm, "early_iteration")
    moderate = evidence.window(experiment, arm, "moderate_pruning")
    sooner = claims.interval(iterations[moderate].mean(axis=1) - iterations[0])
    return (
        "Frankle and Carbin report that tickets learn faster than the dense network, so that "
        "little time would flatter them beside it. Here the best validation accuracy of rewound "
        f"tickets comes {abs(sooner.mean):.0f} iterations "
        f"{'earlier' if sooner.mean < 0 else 'later'} than the dense network's at moderate pruning "
        f"(difference {claims.bracketed(*sooner, 0)})."
    )


def _other_rate(record: "Record") -> list[str]:
    """The rate at which a network was trained, where it is not the paper's."""
    from dltlib import catalogue

    plan = record.plan
    ours, theirs = plan["learning_rate"], catalogue.NETWORKS[plan["network"]].learning_rate
    return [] if _learned(record) or ours == theirs else [f"rate {ours:g} (the paper's {theirs:g})"]


def _learned(record: "Record") -> bool:
    from dltlib import catalogue

    return catalogue.EXPERIMENTS[record.plan["experiment"]].kind == "learned_masks"

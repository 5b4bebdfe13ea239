"""Plans: section 2 to the letter, bad values refused at once, and names that hashes decide."""

import dataclasses
import math
import re
import shlex

import pytest

from dltlib import actions, catalogue, experiments, paths, plans, records
from dltlib.errors import UserError
from dltlib.experiments import plan
from dltlib.kinds import criterion_masks, learned_masks, tickets
from dltlib.kinds.tickets import Arm
from dltlib.plans import Plan

# Data, epochs, learning rate, share kept each round in conv, dense and output layers.
SECTION_2 = {
    "fc": ("mnist", 55, 1.2e-3, None, 0.8, 0.9),
    "conv2": ("cifar10", 27, 2e-4, 0.9, 0.8, 0.9),
    "conv4": ("cifar10", 34, 3e-4, 0.9, 0.8, 0.9),
    "conv6": ("cifar10", 40, 3e-4, 0.85, 0.8, 0.9),
}


@pytest.mark.parametrize("network", SECTION_2)
@pytest.mark.parametrize("experiment", ["criteria", "signs", "zeros", "supermasks"])
def test_the_paper_preset_is_section_2_to_the_letter(experiment: str, network: str) -> None:
    dataset, epochs, rate, conv, dense, output = SECTION_2[network]
    paper = plan(experiment, network, "paper")
    assert (paper.dataset, paper.epochs, paper.learning_rate) == (dataset, epochs, rate)
    assert (paper.keep_dense, paper.keep_output) == (dense, output)
    assert conv is None or paper.keep_conv == conv
    assert (paper.batch_size, paper.evaluate_every) == (60, 100)
    assert (paper.seeds, paper.rounds) == (5, 24)
    assert (paper.width, paper.train_images, paper.precision) == (1.0, None, "fp32")
    assert paper.settings().epochs == epochs


def test_learned_masks_are_section_5_to_the_letter() -> None:
    paper = plan("learned_supermasks", "fc", "paper")
    assert (paper.epochs, paper.learning_rate, paper.batch_size) == (2000, 100.0, 250)
    assert paper.rounds == 0
    assert paper.arms == (
        "learned/initial/plain",
        "learned/initial/rescaled",
        "learned/constant/plain",
        "learned/constant/rescaled",
    )


def test_experiments_name_the_papers_arms() -> None:
    assert plan("criteria").arms == tuple(
        f"{name}/rewind/zero" for name in catalogue.PAPER_CRITERIA
    )
    assert plan("signs").arms == tuple(
        f"large_final/{action}/zero" for action in actions.MASK1_ACTIONS
    )
    assert plan("zeros").arms == tuple(
        f"large_final/rewind/{action}" for action in actions.MASK0_ACTIONS
    )
    masks = plan("supermasks").arms
    for values in ("initial", "constant"):
        for scaling in ("plain", "rescaled"):
            for source in ("large_final", "large_final_same_sign", "random"):
                assert f"{source}/{values}/{scaling}" in masks


@pytest.mark.parametrize("experiment", catalogue.EXPERIMENTS)
@pytest.mark.parametrize("network", catalogue.NETWORKS)
@pytest.mark.parametrize("preset", catalogue.PRESETS)
def test_every_preset_of_every_experiment_is_a_plan(
    experiment: str, network: str, preset: str
) -> None:
    stock = plan(experiment, network, preset)
    assert experiments.stock(stock) == stock
    assert experiments.name(stock) == f"{experiment}-{network}-{preset}"
    assert (
        experiments.command(stock)
        == f"dltlib run {experiment} --network {network} --preset {preset}"
    )
    assert len(stock.replicas) == stock.seeds * len(stock.arms)
    if preset == "tiny":
        assert stock.dataset == "digits"  # embedded: it runs anywhere


# --- arms -------------------------------------------------------------------------------------


def test_arms_are_written_as_criterion_and_actions() -> None:
    assert tickets.parse("movement") == Arm("movement", "rewind", "zero")
    assert tickets.parse("movement/reinit") == Arm("movement", "reinit", "zero")
    arm = tickets.parse("snip/signed_constant/variant_2")
    assert arm == ("snip", "signed_constant", "variant_2")
    assert str(arm) == "snip/signed_constant/variant_2"
    assert criterion_masks.parse("grad") == ("grad", "initial", "plain", "end")
    assert str(criterion_masks.parse("grad")) == "grad/initial/plain"
    stopped = "grad/constant/plain/epoch=2"
    assert str(criterion_masks.parse(stopped)) == stopped
    assert str(learned_masks.parse("learned/constant")) == "learned/constant/plain"
    tried = "learned/constant/plain/rate=50"
    assert str(learned_masks.parse(tried)) == tried


@pytest.mark.parametrize(
    ("parse", "text", "written"),
    [
        (criterion_masks.parse, "grad/initial/plain/epoch=05", "grad/initial/plain/epoch=5"),
        (
            criterion_masks.parse,
            "grad/initial/plain/accuracy=.5",
            "grad/initial/plain/accuracy=0.5",
        ),
        (learned_masks.parse, "learned/initial/plain/rate=5e1", "learned/initial/plain/rate=50"),
        (learned_masks.parse, "learned/initial/plain/rate=0.10", "learned/initial/plain/rate=0.1"),
        (learned_masks.parse, "learned/initial/plain/rate=4.0x", "learned/initial/plain/rate=4x"),
    ],
)
def test_a_number_in_an_arm_is_written_one_way(parse, text, written):
    assert str(parse(text)) == str(parse(written)) == written
    assert plan("criteria", arms=("movement", "random/reinit")).arms == (
        "movement/rewind/zero",
        "random/reinit/zero",
    )


@pytest.mark.parametrize(
    ("experiment", "arm", "message"),
    [
        ("criteria", "best", "unknown criterion 'best': choose one of large_final"),
        ("criteria", "random/undo", "unknown mask-1 action 'undo': choose one of rewind"),
        ("criteria", "random/rewind/one", "unknown mask-0 action 'one': choose one of zero"),
        ("criteria", "random/rewind/zero/more", "an arm is criterion/mask-1 action/mask-0 action"),
        ("criteria", "", "unknown criterion ''"),
        ("supermasks", "learned", "unknown criterion 'learned'"),
        ("supermasks", "random/two", "values are one of initial, constant"),
        ("supermasks", "random/initial/large", "scaling one of plain, rescaled"),
        ("supermasks", "random/initial/plain/x", "'x' is no place to stop a training: write epoch"),
        (
            "supermasks",
            "random/initial/plain/end/x",
            "is source/values/scaling[/epoch=NUMBER or /accuracy=SHARE], not",
        ),
        ("learned_supermasks", "learned/initial/plain/x", "'x' is no rate of learning: write rate"),
        (
            "learned_supermasks",
            "learned/initial/plain/",
            "'' is no rate of learning: write rate=50",
        ),
        ("learned_supermasks", "learned/initial/plain/rate=-1", "'rate=-1' is no rate of learning"),
        ("learned_supermasks", "learned/initial/plain/rate=x", "'rate=x' is no rate of learning"),
        ("learned_supermasks", "learned/initial/plain/rate=2xx", "'rate=2xx' is no rate of learn"),
        ("learned_supermasks", "learned/initial/plain/rate=1/x", "source/values/scaling[/rate=NUM"),
        ("learned_supermasks", "random", "the source one of learned, learned_identity, not"),
    ],
)
def test_bad_arms_are_refused_with_the_valid_names(experiment: str, arm: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        plan(experiment, arms=(arm,))


def test_arms_are_named_once_and_at_least_one() -> None:
    with pytest.raises(UserError, match="an arm is named twice"):
        plan("criteria", arms=("random", "random/rewind/zero"))
    with pytest.raises(UserError, match="no arms: choose some of large_final/rewind/zero"):
        plan("criteria", arms=())


# --- bad values -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "imagenet"}, "'imagenet': choose one of digits, mnist"),
        ({"seeds": 0}, "seeds must be at least 1, not 0"),
        ({"rounds": -1}, "rounds must not be negative"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"evaluate_every": 0}, "evaluate_every must be at least 1"),
        ({"train_images": 0}, "train_images must be at least 1"),
        ({"learning_rate": -1.0}, "learning_rate must be a positive number"),
        ({"learning_rate": math.nan}, "learning_rate must be a positive number"),
        ({"width": 0.0}, "width must be a positive number"),
        ({"width": math.inf}, "width must be a positive number"),
        ({"width": 1e300}, "width must be a positive number up to 64"),
        ({"keep_dense": 1.1}, "keep_dense must lie in (0, 1]"),
        ({"keep_output": math.nan}, "keep_output must lie in (0, 1]"),
        ({"epochs": 1.5}, "epochs must be a whole number, not 1.5"),
        ({"batch_size": "many"}, "batch_size must be a whole number, not 'many'"),
        ({"seeds": math.inf}, "seeds must be a whole number, not inf"),
        ({"width": None}, "width must be a number, not None"),
        ({"precision": "int8"}, "'int8': choose one of fp32, tf32, bf16"),
        ({"colour": 1}, "a plan has no option colour"),
    ],
)
def test_bad_values_are_refused_at_once(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        plan("criteria", **changes)


@pytest.mark.parametrize(
    ("experiment", "network", "changes"),
    [
        ("criteria", "fc", {"keep_conv": 0.5}),
        ("learned_supermasks", "conv2", {"rounds": 3}),
        ("learned_supermasks", "conv2", {"keep_conv": 0.5}),
        ("learned_supermasks", "fc", {"keep_dense": 0.5}),
        ("identity_supermasks", "fc", {"evaluate_every": 7}),
    ],
)
def test_options_that_decide_nothing_are_refused(
    experiment: str, network: str, changes: dict
) -> None:
    (name,) = changes
    with pytest.raises(UserError, match=f"{experiment} on {network} does not use {name}"):
        plan(experiment, network, **changes)
    value = getattr(plan(experiment, network), name)
    assert plan(experiment, network, **{name: value}) == plan(experiment, network)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 10**9}, "90 x 10^9|81 x 10^9|81,000,000,000|9 x 10^10|8 x 10^10"),
        ({"rounds": 10**12}, "rows of a record"),
        ({"epochs": 10**20}, "training iterations in all"),
    ],
)
def test_what_no_machine_finishes_is_counted_and_refused(changes: dict, message: str) -> None:
    with pytest.raises(UserError, match="|".join(map(re.escape, message.split("|")))):
        experiments.size(plan("criteria", **changes))


def test_sizes_are_those_of_the_paper() -> None:
    size = experiments.size(plan("criteria", "fc", "paper"))
    assert (size.replicas, size.rows) == (45, 45 * 25)
    assert size.iterations == 5 * (1 + 24 * 9) * 55 * (55_000 // 60)


def test_bad_names_are_refused_with_the_valid_ones() -> None:
    for arguments, message in (
        (("criterion",), "'criterion': choose one of criteria, signs, zeros, supermasks, "),
        (("criteria", "vgg"), "'vgg': choose one of fc, conv2, conv4, conv6"),
        (("criteria", "fc", "huge"), "'huge': choose one of paper, cpu, tiny"),
    ):
        with pytest.raises(UserError, match=message):
            plan(*arguments)
    with pytest.raises(UserError, match="unknown network 'vgg'"):
        dataclasses.replace(plan("criteria"), network="vgg")
    with pytest.raises(UserError, match="unknown experiment 'x'"):
        dataclasses.replace(plan("criteria"), experiment="x")


# --- names ------------------------------------------------------------------------------------

OTHER = {
    "dataset": "mnist",
    "arms": ("random",),
    "seeds": 9,
    "rounds": 1,
    "epochs": 3,
    "learning_rate": 0.5,
    "keep_conv": 0.5,
    "keep_dense": 0.5,
    "keep_output": 0.5,
    "batch_size": 7,
    "evaluate_every": 7,
    "width": 0.5,
    "train_images": 100,
    "precision": "bf16",
}


def test_every_field_has_a_part_in_the_hash() -> None:
    fields = {field.name for field in dataclasses.fields(Plan)}
    of_learned_masks = {"rescaled_rate": 7.0, "interim_masks": 3}
    assert set(OTHER) == fields - {"experiment", "network", "preset", *of_learned_masks}
    hashes = {plan("criteria").hash, plan("signs").hash, plan("criteria", "conv2").hash}
    hashes |= {plan("criteria", preset="cpu").hash}
    hashes |= {plan("criteria", "conv4", **{name: value}).hash for name, value in OTHER.items()}
    assert len(hashes) == 4 + len(OTHER)
    learned = plan("learned_supermasks")
    for name, value in of_learned_masks.items():
        assert dataclasses.replace(learned, **{name: value}).hash != learned.hash


def test_rescaled_masks_may_have_a_rate_of_their_own() -> None:
    on_conv2, own = plan("learned_supermasks", "conv2", "cpu"), "learned/constant/rescaled/rate=5"
    assert on_conv2.rescaled_rate != on_conv2.learning_rate
    for arm, rate in (
        ("learned/initial/plain", on_conv2.learning_rate),
        ("learned/initial/rescaled", on_conv2.rescaled_rate),
        (own, 5.0),
        ("learned/initial/plain/rate=4x", 4 * on_conv2.learning_rate),
        ("learned/initial/rescaled/rate=0.5x", 0.5 * on_conv2.rescaled_rate),
    ):
        assert learned_masks.rate_of(learned_masks.parse(arm), on_conv2) == rate
    on_fc = plan("learned_supermasks", "fc", "cpu")
    rescaled = learned_masks.parse("learned/initial/rescaled")
    assert learned_masks.rate_of(rescaled, on_fc) == on_fc.learning_rate
    with pytest.raises(UserError, match="rescaled_rate must be a positive number"):
        plan("learned_supermasks", rescaled_rate=0.0)
    with pytest.raises(UserError, match="criteria on fc does not use rescaled_rate"):
        plan("criteria", rescaled_rate=1.0)


@pytest.mark.parametrize("number", [0, 11])
def test_tests_on_the_way_take_one_mask_to_ten(number: int) -> None:
    with pytest.raises(UserError, match=f"interim_masks must be 1 to 10, not {number}"):
        plan("learned_supermasks", interim_masks=number)
    with pytest.raises(UserError, match="supermasks on fc does not use interim_masks"):
        plan("supermasks", interim_masks=1)


def test_fewer_masks_on_the_way_cost_less() -> None:
    """Of four tests, three."""
    iterations = [
        experiments.size(
            plan("learned_supermasks", "conv2", "cpu", epochs=epochs, interim_masks=masks)
        ).iterations
        for epochs, masks in ((9, 10), (9, 9), (9, 8))
    ]
    assert iterations[0] - iterations[1] == iterations[1] - iterations[2] > 0


@pytest.mark.parametrize("name", OTHER)
def test_an_override_gives_another_name_and_its_own_command(name: str) -> None:
    changed = plan("criteria", "conv2", **{name: OTHER[name]})
    assert experiments.stock(changed) != changed
    assert experiments.name(changed) == f"criteria-conv2-tiny-{changed.hash}"
    assert re.fullmatch("[0-9a-f]{12}", changed.hash)
    assert _through_the_parser(experiments.command(changed)) == changed


def _through_the_parser(command: str) -> Plan:
    """The plan that a command would run."""
    from dltlib import cli

    options = cli._parser().parse_args(shlex.split(command)[1:])
    overrides = {key: getattr(options, key) for key in cli.OVERRIDES if hasattr(options, key)}
    if options.arms:
        overrides["arms"] = tuple(options.arms)
    return plan(options.experiment, options.network, options.preset, **overrides)


def test_what_a_preset_leaves_out_can_be_asked_for() -> None:
    whole = plan("criteria", "conv2", "cpu", train_images=None)
    assert (
        experiments.size(whole).iterations
        > experiments.size(plan("criteria", "conv2", "cpu")).iterations
    )
    assert "--train-images none" in experiments.command(whole)
    assert _through_the_parser(experiments.command(whole)) == whole


@pytest.mark.parametrize("name", records.available(paths.REPOSITORY / "book" / "records"))
def test_a_records_name_and_command_are_those_of_its_plan(name: str) -> None:
    """Presets change; the command beside a figure must remake that figure's record all the same."""
    record = records.read(name, paths.REPOSITORY / "book" / "records")
    values = plans.defaults() | record.plan
    made = Plan(**values | {"arms": tuple(values["arms"])})
    assert experiments.name(made) == record.name == name
    assert record.manifest["command"] == experiments.command(made)
    assert _through_the_parser(record.manifest["command"]) == made


def test_hashes_of_stock_plans_are_what_they_were() -> None:
    """Checkpoints and overridden records are named by them; a new option must not rename them."""
    assert plan("criteria", "fc", "paper").hash == "3cb3be6ccbd4"
    assert plan("zeros", "conv6", "paper").hash == "7b8f82a75684"


def test_equal_plans_have_one_hash_whatever_their_numbers_were_written_as() -> None:
    one = plan("criteria", learning_rate=20, width=2, batch_size=30.0, rounds=3)
    other = plan("criteria", learning_rate=20.0, width=2.0, batch_size=30, rounds=3)
    assert one == other
    assert one.hash == other.hash
    assert experiments.command(one) == experiments.command(other)
    assert _through_the_parser(experiments.command(one)).hash == one.hash
    assert plan("criteria", train_images=None) == plan("criteria")


def test_the_default_of_an_optional_field_is_left_out_of_the_hash() -> None:
    stock = plan("criteria")
    assert plan("criteria", width=1.0, train_images=None, precision="fp32").hash == stock.hash


def test_replicas_come_seed_by_seed() -> None:
    some = plan("criteria", seeds=2, arms=("random", "movement"))
    assert some.replicas == [
        ("random/rewind/zero", 0),
        ("movement/rewind/zero", 0),
        ("random/rewind/zero", 1),
        ("movement/rewind/zero", 1),
    ]


def test_keep_rates_are_by_role() -> None:
    some = plan("criteria", "conv6", "paper")
    assert [some.keep_rate(role) for role in ("conv", "dense", "output")] == [0.85, 0.8, 0.9]


def test_a_plan_is_plain_data() -> None:
    content = plan("criteria").as_dict()
    assert isinstance(content["arms"], list)
    assert Plan(**(content | {"arms": tuple(content["arms"])})) == plan("criteria")
    assert set(catalogue.DATASETS) >= {"digits", "mnist", "fashion_mnist", "cifar10"}


def test_an_iteration_has_one_way_to_be_written() -> None:
    some = plan("criteria", arms=("movement@050/rewind@0/zero",))
    assert some.arms == ("movement@50/rewind/zero",)
    with pytest.raises(UserError, match="an arm is named twice"):
        plan("criteria", arms=("random/rewind@50", "random/rewind@050"))


def test_a_share_that_comes_to_nothing_is_refused_before_training() -> None:
    with pytest.raises(UserError, match="leaves nothing after 2 rounds"):
        plan("criteria", keep_dense=1e-200, rounds=2)

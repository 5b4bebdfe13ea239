"""The command line: ``dltlib run``, ``arms``, ``verify``, ``status`` and the others.

Nothing heavy is imported before a command needs it, so that ``dltlib --help`` answers at once; what
there is to choose from comes from the catalogue.
"""

import argparse
import dataclasses
import functools
import inspect
import os
import signal
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args, get_type_hints

from dltlib import __version__, book, catalogue, plans
from dltlib.errors import UserError
from dltlib.registry import check_name, load_additions


def _or_none(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """A reader of what ``read`` reads, and of "none"."""

    @functools.wraps(read, updated=())
    def reader(text: str) -> Any:
        return None if text.lower() == "none" else read(text)

    return reader


def _overrides() -> dict[str, tuple[Callable[[str], Any], str]]:
    """Reader and help of each of a plan's fields that an option overrides."""
    hints = get_type_hints(plans.Plan)
    found: dict[str, tuple[Callable[[str], Any], str]] = {}
    for field in dataclasses.fields(plans.Plan):
        if meaning := field.metadata.get("meaning"):
            read, *others = get_args(hints[field.name]) or (hints[field.name],)
            found[field.name] = (
                (_or_none(read), f"{meaning}; or none") if others else (read, meaning)
            )
    return found


OVERRIDES = _overrides()


class Ended(KeyboardInterrupt):
    """The process was asked to end, as Ctrl-C asks, by another signal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def _on_signal(number: int, frame: types.FrameType | None) -> NoReturn:
    raise Ended(number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (0, 2 for what the user can mend, 128 + signal)."""
    asked_to_end = [signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    # What the shell told us not to heed (nohup: the end of the session) stays unheeded.
    heeded = [
        number for number in asked_to_end if signal.getsignal(number) not in (signal.SIG_IGN, None)
    ]
    try:
        before = {number: signal.signal(number, _on_signal) for number in heeded}
    except ValueError:  # not the main thread: signals are somebody else's
        before = {}
    try:
        load_additions()
        options, unknown = _parser().parse_known_args(arguments)
        if unknown:
            told = " ".join(unknown)
            raise UserError(
                f"unrecognized arguments: {told} (see dltlib {options.subcommand} --help)"
            )
        status = options.command(options) or 0
        sys.stdout.flush()
        return status
    except UserError as error:
        print(f"dltlib: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        words = sys.argv[1:] if arguments is None else arguments
        remedy = ""
        if "run" in words[:1]:
            remedy = "; the same command goes on from here"
            if "--force" in words:
                remedy = (
                    "; the same command begins anew, without --force it goes on from the last "
                    "checkpoint, if there is one"
                )
        print(f"dltlib: stopped{remedy}", file=sys.stderr)
        return 128 + getattr(stop, "number", signal.SIGINT)
    except BrokenPipeError:  # e.g. `dltlib status | head`
        _drop_output()
        return 0
    except OSError as error:  # of a file, which it names, of standard output, or of a library
        told = str(error)
        if error.filename is not None:
            told = f"{error.filename} ({error.strerror or error})"
        elif error.errno is not None:  # what has none was raised by a library, in its own words
            told = f"cannot write the output ({error.strerror})"
            _drop_output()
        print(f"dltlib: error: {told}", file=sys.stderr)
        return 2
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _drop_output() -> None:
    """Nobody takes standard output: leave nothing for the interpreter to write at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    """One line for a mistake, as for every other that a user can make, and not the whole usage;
    and no option by half of its name, which another option may bear one day."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="dltlib", description="Deconstructing Lottery Tickets, taken apart by re-running it."
    )
    parser.add_argument("--version", action="version", version=f"dltlib {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="subcommand")

    run = commands.add_parser(
        "run",
        help="run an experiment, or go on with one",
        description="Run an experiment, or go on where an earlier run of it stopped.",
        epilog=_listed("Experiments", {e.name: e.title for e in catalogue.EXPERIMENTS.values()})
        + _listed("Presets, whose options are overridden as above", catalogue.PRESETS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("experiment", help=f"{_choice(catalogue.EXPERIMENTS)}: see below")
    run.add_argument("--network", default="fc", help=f"{_choice(catalogue.NETWORKS)} (default: fc)")
    run.add_argument(
        "--preset", default="tiny", help=f"{_choice(catalogue.PRESETS)} (default: tiny)"
    )
    run.add_argument(
        "--arms",
        nargs="+",
        metavar="ARM",
        help="only these: criterion/mask-1 action/mask-0 action, e.g. large_final/reinit/zero, or "
        "large_final/rewind@100 for late rewinding; for supermasks source/values/scaling, e.g. "
        "large_final/constant/rescaled; 'dltlib arms' lists the parts",
    )
    run.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    run.add_argument(
        "--at-once", type=int, metavar="R", help="replicas side by side (default: what fits)"
    )
    run.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="hand shards of replicas to the Dask scheduler there; 'local' starts a local cluster",
    )
    run.add_argument("--force", action="store_true", help="run again from the start")
    run.add_argument(
        "--accept-change",
        action="store_true",
        help="go on with what code or a processor began that gives other numbers; the record "
        "names both",
    )
    run.add_argument(
        "--dry-run", action="store_true", help="say what the plan adds up to, and do nothing"
    )
    run.add_argument("--quiet", action="store_true", help="no bar, no accuracies")
    overrides = run.add_argument_group("overrides of the preset")
    for name, (read, meaning) in OVERRIDES.items():
        option, metavar = f"--{name.replace('_', '-')}", read.__name__.upper()
        overrides.add_argument(
            option, type=read, default=argparse.SUPPRESS, metavar=metavar, help=meaning
        )
    run.set_defaults(command=_run)

    arms = commands.add_parser(
        "arms",
        help="what arms are made of: criteria, mask-1 and mask-0 actions",
        description="List all criteria and actions, those of one's own included, and what each "
        "does: an arm is criterion/mask-1 action/mask-0 action, the last two rewind and zero if "
        "left out.",
    )
    arms.set_defaults(command=_arms)

    verify = commands.add_parser(
        "verify",
        help="train a sample of a record again and compare",
        description="Train a few replicas of a record again from its manifest and compare: to the "
        "last bit on a processor like the one that made it, else within a stated tolerance. Ends "
        "with status 1 where the record is not borne out.",
    )
    verify.add_argument("record", help="its name, as 'dltlib status' lists it")
    verify.add_argument(
        "--replicas", type=int, default=1, metavar="N", help="how many (default: 1)"
    )
    verify.add_argument(
        "--rounds", type=int, metavar="N", help="stop after so many rounds (default: all)"
    )
    verify.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    verify.add_argument("--quiet", action="store_true", help="no progress bar")
    verify.set_defaults(command=_verify)

    status = commands.add_parser("status", help="records and unfinished runs")
    status.set_defaults(command=_status)

    data = commands.add_parser(
        "data",
        help="say which data sets are there, or fetch some",
        description="Without names: say which data sets are there. With names: download those "
        "that are not, through torchvision, into DLTLIB_DATA (default: data/).",
    )
    data.add_argument("names", nargs="*", metavar="NAME", help=_choice(catalogue.DATASETS))
    data.set_defaults(command=_data)

    claims = commands.add_parser(
        "claims",
        help="the paper's claims, judged by the records",
        description="Judge every claim of the paper by the records: effect, 95 % interval over "
        "seeds, verdict.",
    )
    claims.add_argument(
        "--network", help=f"one of the paper's: {_choice(catalogue.TABLE_2)} (default: all)"
    )
    claims.add_argument(
        "--preset",
        help=f"only records of {_choice(catalogue.PRESETS)} (default: the largest there is)",
    )
    claims.add_argument(
        "--verbose", action="store_true", help="every comparison that a verdict rests on"
    )
    claims.set_defaults(command=_claims)

    bench = commands.add_parser(
        "bench",
        help="time this library against a plain training loop",
        description="Time this library against a plain training loop, in turns, and write "
        "book/records/bench.json. Takes some minutes; let the machine do nothing else meanwhile.",
    )
    bench.add_argument(
        "--gpu",
        action="store_true",
        help="time a GPU's training steps, into a record of their own (bench-gpu.json)",
    )
    bench.add_argument(
        "--quick", action="store_true", help="see that it runs, in seconds; the times mean nothing"
    )
    bench.set_defaults(command=_bench)

    pages = commands.add_parser(
        "book",
        help="execute the chapters and build the site",
        description="Execute the chapters whose code, library or records changed, check them all, "
        "and build the site in _build/html.",
    )
    book.add_arguments(pages)
    pages.set_defaults(command=book.main)
    return parser


def _choice(names: Iterable[str]) -> str:
    """ "a, b or c"."""
    *most, last = names
    return f"{', '.join(most)} or {last}"


def _listed(title: str, meanings: dict[str, str]) -> str:
    wide = max(map(len, meanings)) + 2
    lines = [f"  {name:{wide}}{meaning}" for name, meaning in meanings.items()]
    return "\n".join([f"{title}:", *lines, "", ""])


def _run(options: argparse.Namespace) -> None:
    from dltlib import cluster, experiments, processor, progress, runs, storage

    overrides = {name: getattr(options, name) for name in OVERRIDES if hasattr(options, name)}
    if options.arms:
        overrides["arms"] = tuple(options.arms)
    plan = experiments.plan(options.experiment, options.network, options.preset, **overrides)
    name = experiments.name(plan)
    runs.check_at_once(options.at_once)
    if options.dry_run:
        from dltlib import forecast

        device = processor.choose(options.device)
        print("\n".join(forecast.describe(plan, device, options.force)))
        return
    if options.dask:  # devices and data are the workers'
        check_name("device", options.device, processor.DEVICES)
    else:
        device = processor.choose(options.device)
    finished = not options.force and storage.is_done(plan)  # or refused, below
    asked: dict[str, Any] = {
        name: getattr(options, name) for name in ("at_once", "force", "accept_change")
    }
    # A preset's record is returned as it is.
    if not options.dask and not (finished and not storage.is_own(plan)):
        asked["dataset"] = experiments.load_dataset(plan)
        asked["device"] = device
    hidden = options.quiet or finished
    with progress.bar(name, plan, quiet=hidden) as report:
        asked["progress"] = report
        if options.dask:
            target = cluster.run(plan, options.dask, options.device, **asked)
        else:
            target = runs.run(plan, **asked)
    said = f"finished already, {target} (--force reruns it)" if finished else target
    print(f"{name}: {said}")
    _tell(target, options.quiet)


def _tell(target: Path, quiet: bool) -> None:
    """What came out, in short: each arm's mean test accuracy in the last round."""
    from dltlib import records

    if quiet:
        return
    table = records.read(target.stem, target.parent).table
    last = table[table["round"] == table["round"].max()]
    means = last.groupby("arm", sort=False)[["density", "test_accuracy"]].mean()
    for arm, (density, accuracy) in means.iterrows():
        print(f"  {accuracy:6.1%} test accuracy with {density:.1%} of the weights: {arm}")


def _arms(options: argparse.Namespace) -> None:
    from dltlib import actions, criteria
    from dltlib.kinds import KINDS

    def said(of: object) -> str:
        return (inspect.getdoc(of) or "").partition("\n")[0]

    parts = {
        "Criteria": {one.name: said(one.score) for one in criteria.CRITERIA.values()},
        "Mask-1 actions": {one.name: said(one.values) for one in actions.MASK1_ACTIONS.values()},
        "Mask-0 actions": {one.name: one.meaning for one in actions.MASK0_ACTIONS.values()},
    }
    print("\n".join(_listed(title, meanings) for title, meanings in parts.items()))
    print(_listed("How arms are written", {kind.name: kind.grammar for kind in KINDS.values()}))
    print(
        "In masks, source is a criterion or, of learned masks, "
        f"{_choice(catalogue.LEARNED_SOURCES)}; values are {_choice(catalogue.MASK_VALUES)}; "
        f"scaling is {_choice(catalogue.MASK_SCALINGS)}."
    )


def _verify(options: argparse.Namespace) -> int:
    from dltlib import processor, progress, storage, verification

    record = storage.find_record(options.record)
    replicas = verification.sample(record, options.replicas)
    plan = verification.plan_of(record, replicas)
    iterations = verification.iterations(record, replicas)
    with progress.bar(record.name, plan, iterations, options.quiet) as report:
        verdict = verification.verify(
            record, replicas, processor.choose(options.device), options.rounds, report
        )
    print(f"{record.name}: {'holds' if verdict.holds else 'DOES NOT HOLD'}")
    print(f"  {verdict.describe()}")
    return 0 if verdict.holds else 1


def _status(options: argparse.Namespace) -> None:
    from dltlib import storage

    print("\n".join(storage.status()))


def _claims(options: argparse.Namespace) -> None:
    from dltlib import claims

    networks = [options.network] if options.network else None
    results = claims.scorecard(networks, options.preset)
    print("\n".join(claims.describe(results, options.verbose)))


def _bench(options: argparse.Namespace) -> None:
    from dltlib import bench

    target = bench.run(bench.QUICK if options.quick else bench.FULL, gpu=options.gpu)
    print("\n".join(bench.describe(bench.read(target))))
    if options.quick:
        print("quick: it runs; the times mean nothing")
    print(f"bench: {target}")


def _data(options: argparse.Namespace) -> None:
    from dltlib import datasets, paths

    for name in options.names or catalogue.DATASETS:
        try:
            dataset = datasets.load(name)
        except UserError as error:
            if not options.names:
                print(error)
                continue
            datasets.download(name)
            dataset = datasets.load(name)
        origin = catalogue.DATASETS[name].origin
        where = paths.data() if origin == "torchvision" else origin
        print(
            f"{name}: {len(dataset.train):,} training, {len(dataset.validation):,} validation "
            f"and {len(dataset.test):,} test images in {where}"
        )


if __name__ == "__main__":
    sys.exit(main())

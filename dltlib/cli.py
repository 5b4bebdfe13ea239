"""The command line: ``dltlib run``, ``status``, ``data``, ``claims``, ``bench`` and ``book``.

Nothing heavy is imported before a command needs it, so that ``dltlib --help`` answers at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from dltlib import __version__, book
from dltlib.errors import UserError

# Option, type and help of the plan's fields that can be overridden; `plans.Plan` checks values.
OVERRIDES: dict[str, tuple[type, str]] = {
    "dataset": (str, "data set: digits, mnist, fashion_mnist or cifar10"),
    "seeds": (int, "number of seeds, from 0"),
    "rounds": (int, "pruning rounds after the dense training"),
    "epochs": (int, "epochs of each training"),
    "learning_rate": (float, "of Adam; for learned masks, of SGD"),
    "batch_size": (int, "images a batch"),
    "evaluate_every": (int, "iterations between looks at the validation split"),
    "width": (float, "multiplies all hidden sizes of the network"),
    "train_images": (int, "use only so many training images"),
    "keep_conv": (float, "share of weights kept each round in convolutions"),
    "keep_dense": (float, "share of weights kept each round in dense layers"),
    "keep_output": (float, "share of weights kept each round in the output layer"),
    "precision": (str, "of matrix products on a GPU: fp32, tf32 or bf16"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (0, 2 for what the user can mend, 130)."""
    try:
        options = _parser().parse_args(arguments)
        return options.command(options) or 0
    except UserError as error:
        print(f"dltlib: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        forced = "--force" in (arguments or sys.argv)
        remedy = "begins anew, as --force says" if forced else "goes on from here"
        print(f"dltlib: stopped; the same command {remedy}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # e.g. `dltlib status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class _Parser(argparse.ArgumentParser):
    """One line for a mistake, as for every other that a user can make, and not the whole usage."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="dltlib", description="Deconstructing Lottery Tickets, taken apart by re-running it."
    )
    parser.add_argument("--version", action="version", version=f"dltlib {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser(
        "run",
        help="run an experiment, or go on with one",
        description="Run an experiment, or go on where an earlier run of it stopped.",
        epilog="Presets: tiny (digits, about a minute), cpu (the paper's data at a scale for two "
        "cores), paper (to the letter). Any field of a preset can be overridden below.",
    )
    run.add_argument(
        "experiment",
        help="criteria, signs, zeros, supermasks, learned_supermasks or identity_supermasks",
    )
    run.add_argument("--network", default="fc", help="fc, conv2, conv4 or conv6 (default: fc)")
    run.add_argument("--preset", default="tiny", help="tiny, cpu or paper (default: tiny)")
    run.add_argument(
        "--arms",
        nargs="+",
        metavar="ARM",
        help="only these: criterion/mask-1 action/mask-0 action, e.g. large_final/reinit/zero; "
        "for supermasks source/values/scaling, e.g. large_final/constant/rescaled",
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
    run.add_argument("--quiet", action="store_true", help="no progress bar")
    overrides = run.add_argument_group("overrides of the preset")
    for name, (kind, text) in OVERRIDES.items():
        overrides.add_argument(
            f"--{name.replace('_', '-')}", type=kind, metavar=kind.__name__.upper(), help=text
        )
    run.set_defaults(command=_run)

    status = commands.add_parser("status", help="records, unfinished runs and data sets")
    status.set_defaults(command=_status)

    data = commands.add_parser(
        "data",
        help="say which data sets are there, or fetch some",
        description="Without names: say which data sets are there. With names: download those "
        "that are not, through torchvision, into DLTLIB_DATA (default: data/).",
    )
    data.add_argument("names", nargs="*", metavar="NAME", help="mnist, fashion_mnist or cifar10")
    data.set_defaults(command=_data)

    claims = commands.add_parser(
        "claims",
        help="the paper's claims, judged by the records",
        description="Judge every claim of the paper by the records: effect, 95 %% interval over "
        "seeds, verdict.",
    )
    claims.add_argument("--network", help="fc, conv2, conv4 or conv6 (default: all)")
    claims.add_argument(
        "--preset", help="only records of tiny, cpu or paper (default: the largest there is)"
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


def _run(options: argparse.Namespace) -> None:
    from dltlib import cluster, experiments, plans, progress

    overrides = {
        name: getattr(options, name) for name in OVERRIDES if getattr(options, name) is not None
    }
    if options.arms:
        overrides["arms"] = tuple(options.arms)
    plan = plans.plan(options.experiment, options.network, options.preset, **overrides)
    if options.at_once is not None and options.at_once < 1:
        raise UserError(f"--at-once must be at least 1, not {options.at_once}")
    device = _device(options.device)
    if not options.force and experiments.is_finished(plan):
        print(f"{plan.name}: finished already, {experiments.record_path(plan)} (--force reruns it)")
        return
    dataset = experiments.load_dataset(plan)
    total = experiments.total_iterations(plan, dataset)
    with progress.bar(plan.name, total, plan.rounds or plan.epochs, options.quiet) as report:
        if options.dask:
            target = cluster.run(
                plan, options.dask, options.device, options.at_once, report, options.force
            )
        else:
            target = experiments.run(plan, device, dataset, options.at_once, report, options.force)
    print(f"{plan.name}: {target}")


def _device(name: str) -> str:
    import torch

    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"unknown device {name!r}: choose one of auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("torch sees no CUDA GPU here: use --device cpu, or install its drivers")
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return name


def _status(options: argparse.Namespace) -> None:
    from dltlib import experiments

    print("\n".join(experiments.status()))


def _claims(options: argparse.Namespace) -> None:
    from dltlib import claims

    networks = [options.network] if options.network else None
    results = claims.scorecard(networks, options.preset)
    print("\n".join(claims.describe(results, options.verbose)))


def _bench(options: argparse.Namespace) -> None:
    from dltlib import bench

    target = bench.run(bench.QUICK if options.quick else bench.FULL)
    print("\n".join(bench.describe(bench.read(target))))
    print(f"bench: {target}")


def _data(options: argparse.Namespace) -> None:
    from dltlib import datasets, paths

    for name in options.names or datasets.DATASETS:
        try:
            dataset = datasets.load(name)
        except UserError as error:
            if not options.names:
                print(f"{name}: {error}")
                continue
            datasets.download(name)
            dataset = datasets.load(name)
        place = "scikit-learn" if name == "digits" else paths.data()
        print(
            f"{name}: {len(dataset.train):,} training, {len(dataset.validation):,} validation "
            f"and {len(dataset.test):,} test images in {place}"
        )


if __name__ == "__main__":
    sys.exit(main())

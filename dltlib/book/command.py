"""``dltlib book``."""

import argparse
import contextlib
import json
from typing import Any

from dltlib.book.checks import behind, check
from dltlib.book.execution import execute
from dltlib.book.site import build
from dltlib.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``dltlib book``, which `main` obeys."""
    parser.add_argument("chapters", nargs="*", metavar="CHAPTER", help="default: all of _toc.yml")
    parser.add_argument("--force", action="store_true", help="even where nothing changed")
    parser.add_argument(
        "--check", action="store_true", help="only say which notebooks are out of date, and why"
    )
    parser.add_argument("--no-site", action="store_true", help="execute, but build no pages")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the chapter; its notebook goes to _build/variants",
    )


def main(arguments: argparse.Namespace) -> None:
    """Run ``dltlib book``."""
    if arguments.check:
        check(arguments.chapters)
        print("every chapter is executed and up to date")
        return
    parameters = dict(_parameter(text) for text in arguments.set)
    execute(arguments.chapters, force=arguments.force, parameters=parameters)
    if not parameters and not arguments.no_site:
        print(f"the book: {build(arguments.chapters, force=arguments.force)}")
    if arguments.chapters and (others := behind(arguments.chapters)):
        print(
            f"not up to date: {', '.join(others)} (`dltlib book` without names executes them too)"
        )


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise UserError(f"--set {text}: write NAME=VALUE")
    with contextlib.suppress(json.JSONDecodeError):
        return name, json.loads(value)
    return name, value

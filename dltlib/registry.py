"""Named values of one sort, found by name or refused with the names there are."""

import dataclasses
import difflib
import functools
import importlib.metadata
import inspect
from collections.abc import Collection
from typing import Protocol, TypeVar, runtime_checkable

from dltlib.errors import UserError

ADDITIONS = "dltlib.additions"
"""The group of entry points by which a package of one's own names the modules that add values."""


@runtime_checkable
class Named(Protocol):
    """Whatever has a name."""

    @property
    def name(self) -> str:
        """What the value is called on the command line."""


Value = TypeVar("Value", bound=Named)


class Registry(dict[str, Value]):
    """Values by name, in the order in which they were added.

    A package of one's own adds to the library's registries as the library does: nothing in
    `dltlib` has to be edited. Where a package is installed that names its modules as
    `ADDITIONS`, they are found without an import (`load_additions`).
    """

    def __init__(self, sort: str) -> None:
        super().__init__()
        self.sort = sort  # for messages: "criterion", "network", ...

    def add(self, value: Value) -> Value:
        """Enter a value under its name; `UserError` if the name is taken by another one.

        A function that is defined again, as by a cell that is changed and run again, or a module
        that is reloaded, takes its own place.
        """
        name = value.name
        if name in self and self[name] != value and not _defined_again(self[name], value):
            raise UserError(f"the {self.sort} {name!r} is there already: choose another name")
        self[name] = value
        return value

    def find(self, name: str) -> Value:
        """The value of that name, or a `UserError` that lists them all."""
        if name not in self:
            load_additions()
        check_name(self.sort, name, self)
        return self[name]


def check_name(sort: str, name: str, there: Collection[str]) -> None:
    """Raise `UserError` unless ``name`` is one of those ``there``, which the message lists."""
    if name not in there:
        raise UserError(
            f"unknown {sort} {name!r}: choose one of {', '.join(there)}{nearest(name, there)}"
        )


def nearest(name: str, there: Collection[str]) -> str:
    """In brackets, the name that is most like this one, if any is.

    >>> nearest("convv2", ["fc", "conv2"])
    ' (nearest: conv2)'
    """
    near = difflib.get_close_matches(name, there, n=1)
    return f" (nearest: {near[0]})" if near else ""


def _defined_again(before: Named, now: Named) -> bool:
    """Whether two values hold functions, and those were written in the same places."""

    def places(value: Named) -> list[tuple[str, str]]:
        if not dataclasses.is_dataclass(value):
            return []
        defaults = [field.default for field in dataclasses.fields(value)]
        functions = [one for one in vars(value).values() if inspect.isfunction(one)]
        return [(one.__module__, one.__qualname__) for one in functions if one not in defaults]

    return bool(places(now)) and places(now) == places(before)


@functools.cache
def load_additions() -> None:
    """Import the modules that installed packages name in the entry point group `ADDITIONS`.

    Raises `UserError`, which names the package, if one of them cannot be imported.
    """
    for module in importlib.metadata.entry_points(group=ADDITIONS):
        try:
            module.load()
        except Exception as error:  # whatever a module of somebody's raises
            package = module.dist.name if module.dist else "a package"
            raise UserError(
                f"{package} adds to dltlib by {module.value}, which cannot be imported: {error}"
            ) from error

"""Named values of one sort, found by name or refused with the names there are."""

from typing import Protocol, TypeVar, runtime_checkable

from dltlib.errors import UserError


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
    `dltlib` has to be edited.
    """

    def __init__(self, sort: str) -> None:
        super().__init__()
        self.sort = sort  # for messages: "criterion", "network", ...

    def add(self, value: Value) -> Value:
        """Enter a value under its name; `UserError` if the name is taken by another one."""
        if value.name in self and self[value.name] != value:
            raise UserError(f"there is a {self.sort} {value.name!r} already: choose another name")
        self[value.name] = value
        return value

    def find(self, name: str) -> Value:
        """The value of that name, or a `UserError` that lists them all."""
        if name not in self:
            raise UserError(f"unknown {self.sort} {name!r}: choose one of {', '.join(self)}")
        return self[name]

"""Reads a manifest field by field: collects every problem, and notices every field that nobody read.

A user mends all mistakes at once when all are told at once. And what a version of CLM does not know is never
ignored: a field that is set, and that no parser asked for, is found here and not by forgetting it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from clm.resources.duration import parse_duration
from clm.resources.problems import refuse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import timedelta

_Choice = TypeVar("_Choice", bound=str)
_INT32 = 2**31 - 1


def means_nothing(value: object) -> bool:
    """Tell whether a value asks for nothing: null, false, or an empty string, list or object."""
    return value is None or value is False or (isinstance(value, str | Sequence | Mapping) and not value)


class Report:
    """What reading one manifest found: problems, and the readers that know what was left unread."""

    def __init__(self) -> None:
        """Start with nothing found."""
        self._problems: list[tuple[str, str]] = []
        self._readers: list[Reader] = []

    def add(self, field: str, message: str) -> None:
        """Note that `field` is wrong."""
        self._problems.append((field, message))

    def enter(self, reader: Reader) -> None:
        """Note that an object is being read."""
        self._readers.append(reader)

    def unread(self) -> tuple[str, ...]:
        """List the paths of the fields that ask for something and that nobody read."""
        return tuple(path for reader in self._readers for path in reader.unread())

    def check(self) -> None:
        """Raise one InvalidInput that tells all problems, if there are any."""
        refuse(self._problems)


class Reader:
    """One object of a manifest. Every method notes what is wrong and goes on with a value that is safe."""

    __slots__ = ("_body", "_presence", "_report", "_seen", "path")

    def __init__(self, body: object, *, path: str, report: Report, presence: Collection[str] = ()) -> None:
        """Read `body`, which stands at `path`; null is an empty object.

        The fields named in `presence` ask for something by being there at all, even as an empty object.
        """
        self.path = path
        self._report = report
        self._presence = presence
        self._seen: set[str] = set()
        if body is not None and not isinstance(body, Mapping):
            report.add(path, "must be an object")
            body = None
        self._body: Mapping[str, Any] = body or {}
        report.enter(self)

    def problem(self, name: str, message: str) -> None:
        """Note that a field of this object is wrong."""
        self._report.add(f"{self.path}.{name}", message)

    def value(self, name: str) -> Any:  # noqa: ANN401 - whatever the manifest says
        """Take a field as it is; None when it is absent."""
        self._seen.add(name)
        return self._body.get(name)

    def peek(self, name: str) -> Any:  # noqa: ANN401 - whatever the manifest says
        """Look at a field without taking it as read."""
        return self._body.get(name)

    def unread(self) -> Iterator[str]:
        """Iterate over the paths of fields that ask for something and were not read."""
        for name, value in self._body.items():
            nothing = value is None if name in self._presence else means_nothing(value)
            if name not in self._seen and not nothing:
                yield f"{self.path}.{name}"

    def skip(self, name: str, *, when: bool) -> None:
        """Take a field as read when its value asks for nothing that would not be so anyway."""
        if when:
            self._seen.add(name)

    def skip_rest(self, *, when: bool) -> None:
        """Take everything as read where a field says that the object asks for nothing."""
        if when:
            self._seen.update(self._body)

    def text(self, name: str, *, required: bool = False) -> str | None:
        """Read a string; an empty one is as good as none."""
        value = self.value(name)
        if value is not None and not isinstance(value, str):
            self.problem(name, "must be a string")
            return None
        if required and not value:
            self.problem(name, "is required")
        return value or None

    def required_text(self, name: str) -> str:
        """Read a string that must be there."""
        return self.text(name, required=True) or ""

    def texts(self, name: str) -> tuple[str, ...]:
        """Read a list of strings that are not empty."""
        value = self.value(name)
        if not value:
            return ()
        if not isinstance(value, list | tuple):
            self.problem(name, "must be a list")
            return ()
        for index, item in enumerate(value):
            if not isinstance(item, str) or not item:
                self.problem(f"{name}[{index}]", "must be a string that is not empty")
        return tuple(item for item in value if isinstance(item, str))

    def refuse_empty(self, *names: str) -> None:
        """Note that fields are wrong which are there and empty: each stands for a limit, which that would lift."""
        for name in names:
            value = self.peek(name)
            if value is not None and not value:
                self.problem(name, "must not be empty, which would allow everything; say what is meant or leave it out")

    def text_map(self, name: str) -> dict[str, str]:
        """Read an object whose values are strings."""
        value = self.value(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping) or not all(isinstance(item, str) for item in value.values()):
            self.problem(name, "must be an object whose values are strings")
            return {}
        return dict(value)

    def integer(self, name: str, *, minimum: int = 0, maximum: int = _INT32) -> int | None:
        """Read a whole number within bounds."""
        value = self.value(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
            self.problem(name, f"must be a whole number from {minimum} to {maximum}")
            return None
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Read true or false."""
        value = self.value(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.problem(name, "must be true or false")
            return default
        return value

    def choice(self, name: str, choices: tuple[_Choice, ...], *, default: _Choice) -> _Choice:
        """Read one of some words."""
        value = self.value(name)
        if value is None or value == "":
            return default
        if value not in choices:
            self.problem(name, "must be one of " + ", ".join(choices))
            return default
        return choices[choices.index(value)]

    def duration(self, name: str) -> timedelta | None:
        """Read a Go duration."""
        value = self.text(name)
        if value is None:
            return None
        try:
            return parse_duration(value)
        except ValueError as error:
            self.problem(name, str(error))
            return None

    def child(self, name: str) -> Reader:
        """Read an object inside this one; an absent one is empty."""
        return Reader(self.value(name), path=f"{self.path}.{name}", report=self._report)

    def children(self, name: str) -> list[Reader]:
        """Read a list of objects."""
        value = self.value(name)
        if value is not None and not isinstance(value, list | tuple):
            self.problem(name, "must be a list")
            return []
        return [
            Reader(item, path=f"{self.path}.{name}[{index}]", report=self._report)
            for index, item in enumerate(value or ())
        ]

"""Methods: functions whose signature is the contract, each with the action that it declares."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import MappingProxyType, NoneType, UnionType
from typing import Any, TypeAlias, get_args, get_type_hints

from app.core.access import ACTIONS, Token
from app.database import Row
from app.dialects.jsonrpc.errors import MASK, SECRET_NAMES, RpcError, echo
from app.http.requests import is_storable

Function: TypeAlias = Callable[..., Awaitable[Any]]
Reference: TypeAlias = Any  # a user, a group or a repository, by number or by name (references.py)

# Former names of arguments, which clients still send.
ALIASES = MappingProxyType({"usersgroupid": "usergroupid"})
TRUE, FALSE = frozenset({"true", "t", "yes", "y", "on", "1"}), frozenset({"false", "f", "no", "n", "off", "0", ""})
MAX_DIGITS = 18  # of a number that PostgreSQL can hold
MAX_METHOD_NAME = 100  # characters
ABSENT = inspect.Parameter.empty


@dataclass(frozen=True)
class Argument:
    """An argument of a method. `kind` is str, int, bool, dict or Row, the last for the repository that the method is
    about; None for a value that the method reads itself.
    """

    name: str
    kind: type | None
    default: Any = ABSENT

    @property
    def required(self) -> bool:
        return self.default is ABSENT

    def read(self, value: Any) -> Any:
        """Read a value that was sent. Clients on the command line send every value as a text. Raises RpcError."""
        if self.kind is dict and not isinstance(value, dict):
            raise RpcError(f"`{self.name}` must be an object")
        if self.kind is None or self.kind not in READERS:
            return value
        try:
            return READERS[self.kind](value)
        except ValueError:
            shown = MASK if self.name in SECRET_NAMES else echo(value)
            raise RpcError(f"{shown} value cannot be translated to {self.kind.__name__}") from None


def _read_text(value: Any) -> str:
    """Read a text, which may be written as a number. Raises ValueError, and RpcError for one that cannot be stored."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError("no text")
    if not is_storable(value):
        raise RpcError("a text must not contain NUL characters or lone surrogates")
    return value


def read_integer(value: Any) -> int:
    """Read a number, which may be written as a text. Raises ValueError."""
    text = str(value).strip() if isinstance(value, str | int | float) else ""
    digits = text.removeprefix("-")
    if isinstance(value, bool) or not (digits.isascii() and digits.isdigit() and len(digits) <= MAX_DIGITS):
        raise ValueError("no number")
    return int(text)


def _read_flag(value: Any) -> bool:
    text = str(value).strip().lower() if isinstance(value, str | int | float) else "?"
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    raise ValueError("no truth value")


READERS: Mapping[Any, Callable[[Any], Any]] = {str: _read_text, int: read_integer, bool: _read_flag}


@dataclass(frozen=True)
class Method:
    """A method and its action, a key of `access.ACTIONS`. The function gets the call and the arguments by name.

    `records` are the parameters of the function that are dataclasses: their fields are arguments of the method.
    """

    name: str
    action: str
    function: Function
    arguments: tuple[Argument, ...]
    records: Mapping[str, type]

    @property
    def repository(self) -> Argument | None:
        """The argument that names the repository which the method is about."""
        return next((argument for argument in self.arguments if argument.kind is Row), None)

    async def call(self, call: Any, values: Mapping[str, Any]) -> Any:
        """Call the function with the values of the arguments that were sent."""
        given = dict(values)
        for parameter, record in self.records.items():
            names = {field.name for field in fields(record)} & given.keys()
            given[parameter] = record(**{name: given.pop(name) for name in names})
        return await self.function(call, **given)


class Methods(dict[str, Method]):
    """The methods of a dialect by name.

    A method cannot be added if its action is unknown, declares no token, or is about a repository that no argument
    names.
    """

    def add(self, name: str, action: str) -> Callable[[Function], Function]:
        """Register a function. Raises LookupError if its action does not suffice to check its calls."""
        if action not in ACTIONS:
            raise LookupError(f"{name}: unknown action {action!r}")
        if ACTIONS[action].token in (None, Token.NONE):
            raise LookupError(f"{name}: the action {action!r} declares no token")

        def register(function: Function) -> Function:
            method = Method(name, action, function, *_read_signature(function))
            if ACTIONS[action].level is not None and method.repository is None:
                raise LookupError(f"{name}: the action {action!r} is about a repository, and no argument names it")
            self[name] = method
            return function

        return register


def _read_signature(function: Function) -> tuple[tuple[Argument, ...], Mapping[str, type]]:
    """Read the arguments of a function, whose first parameter is the call, and its records."""
    arguments: list[Argument] = []
    records: dict[str, type] = {}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if isinstance(parameter.annotation, type) and is_dataclass(parameter.annotation):
            records[parameter.name] = parameter.annotation
            arguments += _list_fields(parameter.annotation)
        else:
            arguments.append(Argument(parameter.name, _read_kind(parameter.annotation), parameter.default))
    return tuple(arguments), records


def _list_fields(record: Any) -> list[Argument]:
    kinds = get_type_hints(record)
    return [
        Argument(each.name, _read_kind(kinds[each.name]), ABSENT if each.default is MISSING else each.default)
        for each in fields(record)
    ]


def _read_kind(annotation: Any) -> type | None:
    kinds = get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)
    [kind] = [kind for kind in kinds if kind is not NoneType]
    return None if kind is Any else kind


def find_similar(methods: Mapping[str, Any], name: Any) -> str:
    """List the methods whose names contain a part of this name, by part; `none` if there are none.

    Callers need no key for this, so only the first MAX_METHOD_NAME characters count.
    """
    text = name[:MAX_METHOD_NAME] if isinstance(name, str) else ""
    parts = [part for part in text.split("_") if part]
    return ", ".join(dict.fromkeys(each for part in parts for each in methods if part in each)) or "none"

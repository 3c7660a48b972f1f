"""Dataclasses that cost little to define.

The decorator of `dataclasses` compiles up to six functions for a class, half a millisecond, and a start defines three
hundred: a third of the time until relay listens. This one compiles `__init__` alone and shares the other methods. What
it makes are dataclasses all the same: `fields`, `replace`, `asdict` and `match` take them. The figures are in
docs/decisions/dataclasses.md.
"""

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass  # noqa: PLC0414 - for type checkers there is no difference
else:
    _OPTIONS = frozenset({"init", "repr", "slots", "kw_only"})

    def dataclass(cls: type | None = None, /, *, frozen: bool = False, eq: bool = True, **options: bool) -> Any:
        """Make a dataclass; the options are those of `dataclasses.dataclass`, as far as relay uses them."""
        if cls is None:
            return lambda made: dataclass(made, frozen=frozen, eq=eq, **options)
        if unknown := options.keys() - _OPTIONS:
            raise TypeError(f"relay's dataclasses have no {', '.join(sorted(unknown))}")
        has_init, has_repr = options.pop("init", True), options.pop("repr", True)
        own = set(vars(cls))
        made = dataclasses.dataclass(init=False, eq=False, repr=False, **options)(cls)
        fields = dataclasses.fields(made)
        methods: dict[str, Any] = {}
        if has_init:
            methods["__init__"] = _compile_init(made, fields, frozen=frozen)
        if has_repr:
            methods["__repr__"] = _format
        if eq:
            methods |= _build_comparison(fields, frozen=frozen)
        if frozen:
            methods |= {"__setattr__": _refuse_setting, "__delattr__": _refuse_deleting}
            methods |= {"__getstate__": _get_state, "__setstate__": _set_state}
        for name, method in methods.items():
            if name not in own:
                setattr(made, name, method)
        return made


Fields = tuple["dataclasses.Field[Any]", ...]


def _compile_init(cls: type, fields: Fields, *, frozen: bool) -> Callable[..., None]:
    scope: dict[str, Any] = {"_set": object.__setattr__, "_MISSING": dataclasses.MISSING}
    positional: list[str] = ["self"]
    named: list[str] = []
    body: list[str] = []
    for field in fields:
        name = field.name
        value, default = name, ""
        if field.default is not dataclasses.MISSING:
            scope[f"_default_{name}"] = field.default
            default = f"_default_{name}"
        elif field.default_factory is not dataclasses.MISSING:
            scope[f"_factory_{name}"] = field.default_factory
            default, value = "_MISSING", f"_factory_{name}() if {name} is _MISSING else {name}"
        if field.init:
            (named if field.kw_only else positional).append(f"{name}={default}" if default else name)
        elif not default:
            continue
        elif default == "_MISSING":
            value = f"_factory_{name}()"
        else:
            value = default
        body.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    parameters = ", ".join([*positional, *(["*", *named] if named else [])])
    text = f"def __init__({parameters}):\n  " + "\n  ".join(body or ["pass"])
    exec(text, scope)  # noqa: S102 - made of the names of the class's own fields
    init: Callable[..., None] = scope["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init


def _build_comparison(fields: Fields, *, frozen: bool) -> dict[str, Any]:
    compared = [field.name for field in fields if field.compare]
    get = attrgetter(*compared) if compared else lambda _: ()

    def is_equal(self: Any, other: object) -> bool:
        return bool(get(self) == get(other)) if other.__class__ is self.__class__ else NotImplemented

    def get_hash(self: Any) -> int:
        return hash(get(self))

    return {"__eq__": is_equal, "__hash__": get_hash if frozen else None}


@recursive_repr("...")
def _format(self: Any) -> str:
    shown = (field.name for field in dataclasses.fields(self) if field.repr)
    return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"


def _refuse_setting(self: Any, name: str, value: object) -> None:
    _refuse(self, name, "assign to")
    object.__setattr__(self, name, value)


def _refuse_deleting(self: Any, name: str) -> None:
    _refuse(self, name, "delete")
    object.__delattr__(self, name)


def _refuse(self: Any, name: str, action: str) -> None:
    if "__dataclass_fields__" in vars(type(self)) or name in self.__dataclass_fields__:
        raise dataclasses.FrozenInstanceError(f"cannot {action} field {name!r}")


def _get_state(self: Any) -> list[Any]:
    return [getattr(self, field.name) for field in dataclasses.fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for field, value in zip(dataclasses.fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)

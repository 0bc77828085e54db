"""One class of options a step: its names, types, ranges, help and defaults stand there and nowhere else.

The command's options, the run file's block, the keywords of the Python API, the JSON schema and the tables of
config/README.md are all made from that class.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, Union, cast, dataclass_transform, get_args, get_origin

import click
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from aida_tools.core.errors import AidaError, as_sentence, did_you_mean

#: Options that several steps have in common: the run file names them once, for all of them.
SHARED = ("seed", "focus")
#: Options of memory and speed: they do not change a result, and no run file names them.
OF_THE_MACHINE = ("threads", "block")
#: Seed of whatever is drawn, where none is named.
SEED = 1
#: What is known of an option for the command line only.
COMMAND_LINE = ("flag", "metavar", "shown")


def option(
    *,
    default: Any,
    help: str,
    flag: str | None = None,
    metavar: str | None = None,
    shown: str | None = None,
    **limits: Any,
) -> Any:
    """Describe one option.

    Parameters
    ----------
    default
        Its value where nobody gives one, or a function that finds it; `...` for an option that must be given.
    help
        One sentence or two: what it is, with its unit.
    flag
        On the command line; by default the name with hyphens. Options of several values are named in the plural
        (`models`) and given one by one (`--model`), so that they need a flag.
    metavar
        Placeholder for the value in the help.
    shown
        The default in words, where its value does not tell it.
    limits
        `ge`, `gt`, `le`, `lt`, `min_length`, `pattern` of pydantic's Field.
    """
    extra = dict(zip(COMMAND_LINE, (flag, metavar, shown), strict=True))
    found = {"default_factory": default} if callable(default) else {"default": default}
    return Field(
        **found, description=help, json_schema_extra={k: v for k, v in extra.items() if v}, **limits
    )  # fmt: skip


@dataclass_transform(frozen_default=True, kw_only_default=True)
def options[T](cls: type[T]) -> type[T]:
    """Make a class of options: frozen, its values checked, unknown names refused.

    Raises
    ------
    TypeError
        For an option that could not be written on a command line, or that nobody described.
    """
    made: Any = dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))(cls)
    for name, field in fields(made).items():
        several, empty = _several(field), _default(field) in ((), None)
        optional = type(None) in get_args(field.annotation)
        lengths = [m for m in field.metadata if getattr(m, "min_length", 0)]
        if not field.description:
            raise TypeError(f"option '{name}' has no help")
        if several and "flag" not in _extra(field):
            raise TypeError(f"option '{name}' has several values and no flag to give one of them")
        if (several and not empty and not lengths) or (optional and not empty):
            raise TypeError(f"option '{name}' could be empty and is not by default: no command line can say that")
    return cast(type[T], made)


def fields(cls: type) -> dict[str, FieldInfo]:
    """Return the options of a class by name."""
    found: dict[str, FieldInfo] = cls.__pydantic_fields__  # type: ignore[attr-defined]
    return found


def _extra(field: FieldInfo) -> dict[str, Any]:
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True)


def default_words(field: FieldInfo) -> str:
    """Return what to print as an option's default; empty where there is nothing to say."""
    default = _default(field)
    if field.is_required() or default is None or default is False or default in ((), ""):
        return str(_extra(field).get("shown", ""))
    values = default if isinstance(default, tuple) else (default,)
    return str(_extra(field).get("shown", ", ".join(map(str, values))))


def make[T](cls: type[T], values: dict[str, Any], source: str) -> T:
    """Check values against a class of options.

    Parameters
    ----------
    cls
        The class.
    values
        Option -> value; lists are taken for tuples.
    source
        Where they came from, for the message.

    Raises
    ------
    AidaError
        For an unknown name, with the nearest known one, or a value out of range.
    """
    known = fields(cls)
    for name in values:
        if name not in known:
            raise AidaError(f"{source}: unknown option '{name}'. {did_you_mean(name, known)}")
    return _checked(cls, values, lambda name, value: f"{source}: option '{name}', value {value!r}")


def _checked[T](cls: type[T], values: dict[str, Any], place: Callable[[str, Any], str]) -> T:
    """Check values; `place` says where a wrong one stands."""
    try:
        return TypeAdapter(cls).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    where = place(str(first["loc"][0]), first["input"])
    raise AidaError(f"{where}: {as_sentence(first['msg'])}")


def flag_of(name: str, field: FieldInfo) -> str:
    """Return an option's flag: `--model` for `models`."""
    return str(_extra(field).get("flag", f"--{name.replace('_', '-')}"))


def _bare(annotation: Any) -> tuple[Any, list[Any]]:
    """Return X of `X | None` and of `Annotated[X, limits]`, and the limits."""
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(a for a in get_args(annotation) if a is not type(None))
    if get_origin(annotation) is Annotated:
        annotation, *limits = get_args(annotation)
        return annotation, [m for one in limits for m in getattr(one, "metadata", [one])]
    return annotation, []


def _several(field: FieldInfo) -> bool:
    return get_origin(_bare(field.annotation)[0]) is tuple


def _click_type(annotation: Any, limits: Iterable[Any]) -> Any:
    ends = {key: getattr(m, key) for m in limits for key in ("ge", "gt", "le", "lt") if hasattr(m, key)}
    if get_origin(annotation) is Literal:
        return click.Choice(get_args(annotation))
    if annotation is Path:
        return click.Path(path_type=Path)
    if annotation in (int, float) and ends:
        kind = click.IntRange if annotation is int else click.FloatRange
        low, high = ends.get("ge", ends.get("gt")), ends.get("le", ends.get("lt"))
        return kind(low, high, min_open="gt" in ends, max_open="lt" in ends)
    return annotation


def _click_option(name: str, field: FieldInfo) -> Callable[[Any], Any]:
    flag, several, limits = flag_of(name, field), _several(field), field.metadata
    annotation, _ = _bare(field.annotation)
    shown = _extra(field).get("shown") or bool(default_words(field))
    settings: dict[str, Any] = {"help": field.description, "default": _default(field), "show_default": shown}
    if annotation is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, **settings)
    if several:
        annotation, limits = _bare(get_args(annotation)[0])
        settings["help"] = f"{field.description} May be repeated."
    settings["metavar"] = _extra(field).get("metavar")
    if field.is_required():
        settings |= {"default": None, "required": True}
    return click.option(flag, name, type=_click_type(annotation, limits), multiple=several, **settings)


def command_options(cls: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options of a class; the command receives them as one object, `options`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def with_options(**given: Any) -> Any:
            values = {name: given.pop(name) for name in fields(cls)}
            made: Any = _checked(cls, values, lambda name, value: flag_of(name, fields(cls)[name]))
            return command(**given, options=made)

        for name, field in reversed(fields(cls).items()):
            with_options = _click_option(name, field)(with_options)
        return with_options

    return decorate


def arguments(options: Any, *, omit: Iterable[str] = OF_THE_MACHINE) -> list[str]:
    """Write options as the words of a command line, leaving out those at their defaults.

    Returns
    -------
    The arguments, each an item, ready to be quoted for a shell.
    """
    out = []
    for name, field in fields(type(options)).items():
        value, flag = getattr(options, name), flag_of(name, field)
        if name in omit or value is None or value == _default(field):
            continue
        if isinstance(value, bool):
            out.append(flag if value else f"--no-{flag[2:]}")
        else:
            out.extend(f"{flag}={one}" for one in (value if isinstance(value, tuple) else (value,)))
    return out


def recorded(options: Any) -> dict[str, Any]:
    """Return the options that can change a result, for the provenance of what they gave."""
    return {name: value for name, value in asdict(options).items() if name not in OF_THE_MACHINE}

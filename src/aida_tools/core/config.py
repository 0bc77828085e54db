"""Closed configuration: a mapping with a known set of keys, read from YAML and checked against a class.

An unknown key is an error that names the nearest right one. Nothing in a configuration is ever executed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from aida_tools.core.errors import AidaError, as_sentence, did_you_mean


class Closed(BaseModel):
    """A mapping in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _known_keys(model: Any, path: tuple[Any, ...]) -> list[str]:
    """Return the keys allowed at a place of the configuration (union variants are united)."""
    models = [model]
    for part in path:
        found: list[Any] = []
        for candidate in models:
            field = _fields(candidate).get(part) if isinstance(part, str) else None
            if field is None:
                # A discriminated union reports its tag as a part of the place.
                found.append(candidate)
                continue
            pending = [field.annotation]
            while pending:
                annotation = pending.pop()
                if isinstance(annotation, type) and _fields(annotation):
                    found.append(annotation)
                pending.extend(getattr(annotation, "__args__", ()))
        models = found
    return [key for candidate in models for key in _fields(candidate)]


def _fields(kind: Any) -> dict[str, Any]:
    """Return the keys of a configuration class, or of a class of options."""
    return getattr(kind, "__pydantic_fields__", {})


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises
    ------
    AidaError
        If there is none, or it is not text, or not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise AidaError(f"{path}: there is no such file.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise AidaError(f"{path}: cannot be read as text ({error}).") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise AidaError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error


def load[T: BaseModel](path: Path, kind: type[T]) -> T:
    """Read a YAML file and check it against a configuration class; see `parse`."""
    return parse(read_yaml(path), kind, path)


def parse[T: BaseModel](values: Any, kind: type[T], source: Path | str) -> T:
    """Check a mapping against a configuration class and fill its defaults.

    Raises
    ------
    AidaError
        Naming the file, the key and the value; for an unknown key, the nearest known one.
    """
    if not isinstance(values, dict):
        raise AidaError(f"{source}: a mapping of keys to values is wanted, but it holds {type(values).__name__}.")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False)
    # An unknown key explains the missing one beside it, so it comes first.
    unknown = ("extra_forbidden", "unexpected_keyword_argument")
    first = min(details, key=lambda d: d["type"] not in unknown)
    place = ".".join(str(p) for p in first["loc"])
    more = f" ({len(details)} problems in all.)" if len(details) > 1 else ""
    if first["type"] in unknown:
        hint = did_you_mean(str(first["loc"][-1]), _known_keys(kind, first["loc"][:-1]))
        msg = f"{source}: unknown key '{place}'. {hint}{more}"
    elif first["type"] == "missing":
        msg = f"{source}: key '{place}' is missing.{more}"
    else:
        msg = f"{source}: key '{place}', value {first['input']!r}: {as_sentence(first['msg'])}{more}"
    raise AidaError(msg)

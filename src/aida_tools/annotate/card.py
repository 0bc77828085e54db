"""Who an annotator is: `annotator.json`, in words a manuscript can use, with the models and what they ask for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aida_tools.errors import AidaError
from aida_tools.files import read_json, write_json
from aida_tools.scan.model import RECORD, find_model

CARD = "annotator.json"
KINDS = ("author", "gate", "model", "folds", "blood", "consensus", "protein")


@dataclass(frozen=True)
class Card:
    """An annotator's description.

    Attributes
    ----------
    kind
        One of `KINDS`.
    description
        One sentence.
    models
        Of each model `name, origin, licence, attribution, sha256`.
    thinned
        Whether it saw counts thinned to a common depth.
    """

    kind: str
    description: str
    models: Sequence[dict[str, Any]] = field(default_factory=list)
    thinned: bool = False

    def write(self, name: str, folder: Path) -> None:
        """Write `annotator.json` for the annotator of that name, credits and thinning within the sentence."""
        credits = [f"{m['name']}: {m['attribution']}" for m in self.models if m["attribution"]]
        text = self.description
        text += ", on counts thinned at random to the depth of the shallowest group" if self.thinned else ""
        text += f" ({'; '.join(credits)})" if credits else ""
        record = {
            "annotator": name, "kind": self.kind, "description": f"{text}.", "models": list(self.models),
            "thinned": self.thinned,
        }  # fmt: skip
        write_json(folder / CARD, record)


def describe_model(name: str, folder: Path) -> dict[str, Any]:
    """Say where a model is from and what its licence asks for.

    Raises
    ------
    AidaError
        If there is no such model, or its record is damaged.
    """
    path = find_model(name, folder) / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        about = record["about"]
        return {
            "name": record["name"], "origin": about.get("origin"), "licence": about.get("licence"),
            "attribution": about.get("attribution") or about.get("citation") or None,
            "sha256": record["arrays_sha256"],
        }  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"{path}: not the record of a model ({type(error).__name__}: {error}). Make the model again."
        raise AidaError(msg) from error


def read_card(folder: Path) -> dict[str, Any]:
    """Read `annotator.json` from an annotator's folder.

    Raises
    ------
    AidaError
        If it is absent or does not describe an annotator.
    """
    again = "Run `aida-tools annotate` again."
    card = read_json(folder / CARD, absent=again, broken=again)
    if not isinstance(card, dict) or not {"description", "models", "thinned"} <= set(card):
        msg = f"{folder / CARD}: it does not describe an annotator. {again}"
        raise AidaError(msg)
    return card

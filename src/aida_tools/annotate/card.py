"""Who an annotator is: `annotator.json`, in words a manuscript can use, with the credits its classifiers ask for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aida_tools.annotate.registry import Annotator
from aida_tools.core.errors import AidaError
from aida_tools.core.files import read_json, write_json
from aida_tools.scan.classifier import RECORD, find_classifier

CARD = "annotator.json"


@dataclass(frozen=True)
class Card:
    """An annotator's description.

    Attributes
    ----------
    annotator
        Its entry in the registry.
    description
        One sentence.
    classifiers
        Of each classifier it is made of: `name, origin, licence, attribution, sha256`.
    thinned
        Whether it saw counts thinned to a common depth.
    """

    annotator: Annotator
    description: str
    classifiers: Sequence[dict[str, Any]] = field(default_factory=list)
    thinned: bool = False

    def write(self, name: str, folder: Path) -> None:
        """Write `annotator.json` for the annotator of that name, credits and thinning within the sentence."""
        credits = [f"{m['name']}: {m['attribution']}" for m in self.classifiers if m["attribution"]]
        text = self.description
        text += ", on counts thinned at random to the depth of the shallowest group" if self.thinned else ""
        text += f" ({'; '.join(credits)})" if credits else ""
        record = {
            "annotator": name,
            "kind": self.annotator.kind,
            "words": self.annotator.words,
            "taught": self.annotator.taught,
            "reference": self.annotator.reference,
            "description": f"{text}.",
            "classifiers": list(self.classifiers),
            "thinned": self.thinned,
        }
        write_json(folder / CARD, record)


def describe_classifier(name: str, folder: Path) -> dict[str, Any]:
    """Say where a classifier is from and what its licence asks for.

    Raises
    ------
    AidaError
        If there is no such classifier, or its record is damaged.
    """
    path = find_classifier(name, folder) / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        about = record["about"]
        return {
            "name": record["name"], "origin": about.get("origin"), "licence": about.get("licence"),
            "attribution": about.get("attribution") or about.get("citation") or None,
            "sha256": record["arrays_sha256"],
        }  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise AidaError(
            f"{path}: not the record of a classifier ({type(error).__name__}: {error}). Make the classifier again."
        ) from error


def read_card(folder: Path) -> dict[str, Any]:
    """Read `annotator.json` from an annotator's folder.

    Raises
    ------
    AidaError
        If it is absent or does not describe an annotator.
    """
    again = "Run `aida-tools annotate` again."
    card = read_json(folder / CARD, absent=again, broken=again)
    if not isinstance(card, dict) or not {"description", "classifiers", "thinned"} <= set(card):
        raise AidaError(f"{folder / CARD}: it does not describe an annotator. {again}")
    return card

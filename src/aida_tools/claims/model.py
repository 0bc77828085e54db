"""The file of claims: what was said, where, and which contrast would have to show it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from aida_tools.core.config import Closed, load

Direction = Literal["lower", "higher", "similar"]
#: Stands for every other level of the column, one contrast each.
EACH = "each"


class Test(Closed):
    """The contrasts that would have to show the claim, all of them."""

    kind: Literal["contrast"] = "contrast"
    cell_types: list[str] = Field(
        default_factory=list, description="Types whose cells are added up; every one must be counted."
    )
    optional_types: list[str] = Field(
        default_factory=list, description="Types that belong to the sum where a cohort has them (unresolved ones)."
    )
    set: str | None = Field(None, description="Instead of `cell_types`: a denominator of the run, such as `T`.")
    denominator: str = Field(description="Share of what: a denominator of the run, or `all`.")
    contrasts: list[str] = Field(
        min_length=1,
        description=f"As `compare` writes them; `population: A - {EACH}` is one contrast with every other population.",
    )
    direction: Direction = Field(description="Of the first side against the second; of the slope for a number.")
    family: str = Field(description="Claims of a family are corrected together, apart by status.")
    per: float = Field(1.0, gt=0, description="Units of a numeric contrast to speak of: 10 for decades of age.")
    margin: float = Field(1.2, gt=1, description="`similar`: odds ratios between 1/margin and margin count as similar.")

    @model_validator(mode="after")
    def _one_numerator(self) -> Test:
        if bool(self.cell_types) == (self.set is not None):
            raise ValueError("give either 'cell_types' or 'set'")
        return self


class Interaction(Closed):
    """A claim that a slope differs between levels: the model with the interaction, in some populations only."""

    kind: Literal["interaction"]
    cell_types: list[str] = Field(min_length=1, description="Types whose cells are added up.")
    denominator: str = Field(description="Share of what.")
    populations: list[str] = Field(min_length=2, description="Population codes that are compared with each other.")
    column: str = Field("age", description="Column whose effect is said to differ between them.")
    family: str = Field(description="Claims of a family are corrected together, apart by status.")


class Untestable(Closed):
    """A claim that no table of shares in healthy blood can test."""

    kind: Literal["untestable"]
    why: str = Field(min_length=20, description="Why not, in a sentence.")
    needs: str = Field(min_length=20, description="What data would be needed, in a sentence.")
    medical: bool = Field(False, description="About disease or treatment: the notice is added.")


class Source(Closed):
    """Where something was said; words only, no numbers."""

    name: str = Field(description="Who said it.")
    url: str = Field(description="An https address, or a DOI as doi:10....")

    @field_validator("url")
    @classmethod
    def _address(cls, value: str) -> str:
        if not re.fullmatch(r"(https://\S+\.\S+|doi:10\.\d{4,9}/\S+)", value):
            raise ValueError("must be an address that starts with https://, or a DOI as doi:10.1016/...")
        return value


class Claim(Closed):
    """One statement."""

    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", description="Short name.")
    statement: str = Field(min_length=10, description="The claim in a plain sentence.")
    sources: list[Source] = Field(min_length=1, description="Who made it.")
    note: str = Field("", description="How the statement was read, where the source leaves room.")
    test: Annotated[Test | Interaction | Untestable, Field(discriminator="kind")]

    @field_validator("test", mode="before")
    @classmethod
    def _usual_kind(cls, value: object) -> object:
        return {"kind": "contrast", **value} if isinstance(value, dict) else value


class Claims(Closed):
    """The whole file."""

    notice: str = Field(min_length=20, description="Added to every claim about disease or treatment.")
    negligible: float = Field(1.1, gt=1, description="Odds ratios from 1/this to this count as practically none.")
    claims: list[Claim] = Field(min_length=1, description="The statements.")

    @field_validator("claims")
    @classmethod
    def _ids_once(cls, value: list[Claim]) -> list[Claim]:
        ids = [claim.id for claim in value]
        if twice := next((i for i in ids if ids.count(i) > 1), None):
            raise ValueError(f"id '{twice}' occurs twice")
        return value


def load_claims(path: Path) -> Claims:
    """Read and check a file of claims.

    Raises
    ------
    AidaError
        Naming the file, the key and the value; for an unknown key, the nearest known one.
    """
    return load(path, Claims)

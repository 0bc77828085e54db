"""The options of `aida-tools compare`."""

from __future__ import annotations

from pydantic import field_validator

from aida_tools.core.errors import did_you_mean
from aida_tools.core.options import SEED, option, options


@options
class Options:
    """What to compare and how."""

    models: tuple[str, ...] = option(
        default=(),
        help="Statistical models, the primary one first; default: all that suit the table.",
        flag="--model",
        metavar="NAME",
    )
    formula: str = option(default="~ population + age + sex", help="Wilkinson formula over the columns of samples.tsv.")
    contrasts: tuple[str, ...] = option(
        default=(),
        help="Contrasts: `population: A - B`, `population: A - rest`, or a covariate such as `age`; default: all "
        "pairs of populations and the covariates of the formula.",
        flag="--contrast",
        metavar="CONTRAST",
    )
    one_vs_rest: bool = option(default=False, help="Also compare each population with all others together.")
    denominators: tuple[str, ...] = option(
        default=(),
        help="What shares are of: a named set of cell types, a new set, or `all` types. Once a denominator is named, "
        "only named ones are used; default: the named sets, and `all`.",
        flag="--denominator",
        metavar="NAME|NAME=TYPE,...|all",
    )
    focus: str | None = option(
        default=None, help="Cell type in question; default: Treg, where it is counted.", metavar="TYPE"
    )
    batch: str = option(default="batch", help="Column of samples.tsv with the batch.", metavar="COLUMN")
    site: str = option(default="site", help="Column of samples.tsv with the site.", metavar="COLUMN")
    controls: bool = option(
        default=False, help="Keep control samples in the models, as a population of their own that ties sites together."
    )
    min_cells: int = option(default=0, help="Leave out samples with fewer cells than this.", ge=0)
    robust: bool = option(default=True, help="Robust empirical Bayes in the propeller models.")
    seed: int = option(default=SEED, ge=0, help="Seed of the random numbers.")
    exclude_populations: tuple[str, ...] = option(
        default=(), help="Populations to leave out, by their codes.", flag="--exclude-population", metavar="CODE"
    )
    primary_denominator: str | None = option(
        default=None, help="Denominator that the report is about; default: the first.", metavar="NAME"
    )
    primary_annotator: str | None = option(
        default=None, help="Annotator that the report is about; default: the first.", metavar="NAME"
    )

    @field_validator("models")
    @classmethod
    def _known_models(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        from aida_tools.models.registry import MODELS

        for name in value:
            if name not in MODELS:
                raise ValueError(f"there is no model '{name}'. {did_you_mean(name, MODELS)}")
        return value

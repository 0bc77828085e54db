"""The step `power` and its options."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from aida_tools.core.errors import AidaError
from aida_tools.core.options import option, options
from aida_tools.core.steps import Step, register
from aida_tools.power import POWER


@options
class Options:
    """What a new comparison should be able to find."""

    plans: tuple[str, ...] = option(
        default=(),
        help="New populations to plan for, each as donors=70,cells=700,batches=5[,sites=1][,reference_donors=...].",
        flag="--plan",
        metavar="KEY=N,...",
    )
    site_sds: tuple[Annotated[float, Field(ge=0)], ...] = option(
        default=(0.0, 0.1, 0.2),
        help="Standard deviations between sites to plan for, log-odds scale: the data of one site for each "
        "population cannot measure it.",
        flag="--site-sd",
        metavar="SD",
        min_length=1,
    )
    power: float = option(default=POWER, help="Wanted power of a test at the 5 % level.", gt=0.05, lt=1)

    @field_validator("plans")
    @classmethod
    def _readable(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        from aida_tools.power.plan import parse_plan

        for text in value:
            try:
                parse_plan(text)
            except AidaError as error:
                raise ValueError(str(error)) from None
        return value


STEP = register(
    Step(
        name="power",
        help="Tell what COMPARE_DIR could have found (minimal detectable odds ratios), and what a new population "
        "would take.",
        options=Options,
        run="aida_tools.power.run:plan_power",
    )
)

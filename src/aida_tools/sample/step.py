"""The options of `aida-tools sample`."""

from __future__ import annotations

from typing import Any

from aida_tools.core.cohort_file import SampleSource
from aida_tools.core.options import option, options


def _of_source(name: str) -> Any:
    """Return a key of the cohort file's `source` as an option."""
    return SampleSource.model_fields[name]


@options
class Options:
    """Sizes of the sample cohort, as a cohort file's `source` of kind `sample` has them."""

    seed: int = _of_source("seed")
    donors_per_batch: int = _of_source("donors_per_batch")
    cells_per_donor: int = _of_source("cells_per_donor")
    batches: tuple[str, ...] = option(
        default=(),
        help="Number of batches of a site; default: SG=8, KR=4, JP=4, TH=2, IN=2.",
        flag="--batches",
        metavar="SITE=N",
    )

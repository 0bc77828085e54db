"""Fit the models to many cohorts with known truth.

Every model is fitted to the scenarios A to E and the sample cohort, the primary one to the designs of `designs.py`,
where it is judged with its status and verdict.

    python benchmarks/calibration/run.py --cohorts 1000 --scenario A --scenario B
    python benchmarks/calibration/summarise.py

Work is cut into chunks of 50 cohorts, one file a scenario, model and chunk; a chunk that has its file is not done
again, so the run can be stopped and taken up at any time, and a new model costs only its own fits. The random numbers
of a cohort depend on its scenario and number alone.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click
import designs
import numpy as np
import pandas as pd
import planted
import simulate
from judge import FOCUS, judge_controls, supported
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from tqdm import tqdm

from aida_tools.design.contrasts import parse_contrast
from aida_tools.design.denominator import Denominator
from aida_tools.design.formula import parse_formula
from aida_tools.models.fitting import reported
from aida_tools.models.registry import MODELS
from aida_tools.models.settings import Designs
from aida_tools.robustness.controls import Controls

HERE = Path(__file__).parent
CHUNK = 50
FORMULA = "~ population + age + sex"
COLUMNS = ["model", "contrast", "truth", "status", "estimate", "std_error", "df"]
#: Scenarios of every model, those of the primary one with its verdicts, and those of the controls' own estimate.
OF_MODELS, OF_DESIGNS, OF_CONTROLS = [*simulate.SCENARIOS, planted.NAME], [*designs.SCENARIOS], [*designs.CONTROLS]
SCENARIOS = [*OF_MODELS, *OF_DESIGNS, *OF_CONTROLS]
PRIMARY, CONTROLS = next(iter(MODELS)), "controls"


def draw(scenario: str, number: int) -> simulate.Cohort | Controls:
    """Draw cohort `number` of a scenario; it is the same whatever other scenarios there are."""
    key = OF_MODELS.index(scenario) if scenario in OF_MODELS else zlib.crc32(scenario.encode())
    rng = np.random.default_rng([key, number])
    if scenario in OF_CONTROLS:
        return designs.draw_controls(designs.CONTROLS[scenario], rng)
    if scenario in OF_DESIGNS:
        return designs.draw(designs.SCENARIOS[scenario], rng)
    return planted.draw(rng) if scenario == planted.NAME else simulate.draw(simulate.SCENARIOS[scenario], rng)


def fit_cohort(cohort: simulate.Cohort, models: Sequence[str]) -> pd.DataFrame:
    """Estimate the contrasts whose truth is known with each of the models.

    Returns
    -------
    One row a model and contrast: `COLUMNS`; the numbers are missing where the contrast has no estimate.
    """
    formula = parse_formula(FORMULA, cohort.samples.columns)
    asked = list(dict.fromkeys(text.partition(" | ")[0] for text in cohort.truth))
    samples = cohort.samples.assign(n_cells=cohort.totals)
    placed = Designs(samples, formula, [parse_contrast(text, formula, samples) for text in asked])
    types = [FOCUS, *(f"other {k}" for k in range(1, cohort.counts.shape[1]))]
    denominator = Denominator("given", "all", types, cohort.counts, cohort.totals)
    rows = []
    for model in (MODELS[name] for name in models):
        # Some models look at all types of the denominator, the others at one at a time.
        counts = denominator.only(FOCUS) if model.one_type else denominator
        told = [row for setting in placed.settings(counts, model) for row in reported(setting, model, 0, robust=True)]
        found = {row["contrast"]: row for row in told}
        rows += [
            found[text.partition(" | ")[0]] | {"contrast": text, "truth": truth} for text, truth in cohort.truth.items()
        ]
    return pd.DataFrame(rows, columns=COLUMNS)


def ask(scenario: str, number: int, models: Sequence[str]) -> pd.DataFrame:
    """Draw cohort `number` and ask the models: `COLUMNS`, and for a design whether claims are `supported`."""
    cohort = draw(scenario, number)
    if isinstance(cohort, Controls):
        return pd.DataFrame(judge_controls(cohort, designs.CONTROLS[scenario].asked[0])).assign(model=CONTROLS)
    table = fit_cohort(cohort, models)
    if scenario in OF_MODELS:
        return table
    return table.assign(supported=[supported(cohort, row["model"], row) for row in table.to_dict("records")])


def run_chunk(scenario: str, first: int, paths: dict[str, Path]) -> None:
    """Fit a chunk of cohorts with the models that have no file of it yet, and write theirs."""
    # Two processes share the machine; threads inside each would only be in the way.
    with threadpool_limits(1):
        tables = [ask(scenario, i, list(paths)).assign(cohort=i) for i in range(first, first + CHUNK)]
    for model, table in pd.concat(tables).groupby("model"):
        path = paths[str(model)]
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        table.to_parquet(partial, index=False)
        partial.replace(path)


@click.command()
@click.option("--cohorts", type=click.IntRange(1), default=1000, show_default=True, help="Rounded up to whole chunks.")
@click.option("--scenario", "scenarios", type=click.Choice(SCENARIOS), multiple=True, default=SCENARIOS)
@click.option("--model", "models", type=click.Choice(list(MODELS)), multiple=True, default=list(MODELS))
@click.option("--chunks", type=click.Path(path_type=Path), default=HERE / "chunks", help="Folder of the chunk files.")
@click.option("--processes", type=click.IntRange(1), default=2, show_default=True)
def main(cohorts: int, scenarios: tuple[str, ...], models: tuple[str, ...], chunks: Path, processes: int) -> None:
    """Fit the models to the cohorts that are not done yet."""
    jobs = []
    for scenario in scenarios:
        for first in range(0, cohorts, CHUNK):
            asked = [CONTROLS] if scenario in OF_CONTROLS else models if scenario in OF_MODELS else [PRIMARY]
            paths = {model: chunks / scenario / model / f"{first:06d}.parquet" for model in asked}
            missing = {model: path for model, path in paths.items() if not path.exists()}
            jobs += [(scenario, first, missing)] if missing else []
    with ProcessPoolExecutor(processes, initializer=os.nice, initargs=(10,)) as pool:
        futures = [pool.submit(run_chunk, *job) for job in jobs]
        for future in tqdm(futures, unit="chunk", disable=None):
            future.result()


if __name__ == "__main__":
    main()

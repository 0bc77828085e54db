"""From the chunk files to `results.tsv` and the figures: false positives, power, coverage, bias, statuses and verdicts.

python benchmarks/calibration/summarise.py
"""

from __future__ import annotations

from pathlib import Path

import click
import designs
import numpy as np
import pandas as pd
import simulate
from panels import STATUSES, draw_designs, draw_models
from run import CONTROLS, OF_CONTROLS, OF_DESIGNS, SCENARIOS
from scipy import stats

from aida_tools.core.schema import write_tsv
from aida_tools.design.contrasts import Contrast
from aida_tools.design.formula import parse_formula
from aida_tools.design.matrix import build_design
from aida_tools.models import mixed
from aida_tools.models.registry import MODELS
from aida_tools.power.closed_form import donor_variance, false_positive_rate, power_of, weighted_covariance

HERE = Path(__file__).parent
NAMES = {f"population: {a} - {b}": name for name, (a, b, _) in simulate.CONTRASTS.items()}


def summarise(chunk: pd.DataFrame) -> pd.Series:
    """Summarise one scenario, model and contrast.

    Parameters
    ----------
    chunk
        One row a cohort: `truth, estimate, std_error, df`; missing where the fit failed.

    Returns
    -------
    `cohorts`, `failed` fits, `rejected` at 0.05 (false positives where the truth is 0, else power), `coverage` of the
    95 % interval, both with their Monte Carlo standard errors, mean `bias`, standard deviation of the estimates and
    mean standard error.
    """
    done = chunk.dropna(subset="std_error")
    critical = stats.t.ppf(0.975, done["df"])
    error = done["estimate"] - done["truth"]
    n = max(len(done), 1)
    if done.empty:
        return pd.Series({"cohorts": len(chunk), "failed": len(chunk)})
    rejected = float(np.mean(done["estimate"].abs() > critical * done["std_error"]))
    coverage = float(np.mean(error.abs() <= critical * done["std_error"]))
    return pd.Series(
        {
            "cohorts": len(chunk),
            "failed": len(chunk) - len(done),
            "truth": chunk["truth"].mean() if chunk["truth"].nunique() == 1 else np.nan,
            "rejected": rejected,
            "rejected_mcse": np.sqrt(rejected * (1 - rejected) / n),
            "coverage": coverage,
            "coverage_mcse": np.sqrt(coverage * (1 - coverage) / n),
            "bias": error.mean(),
            "bias_mcse": error.std() / np.sqrt(n),
            "sd_error": error.std(),
            "mean_std_error": done["std_error"].mean(),
        }
    )


def summarise_labels(chunk: pd.DataFrame, asked: designs.Asked) -> pd.Series:
    """Summarise what a contrast was called.

    Parameters
    ----------
    chunk
        One row a cohort: `truth, status, estimate, std_error, df`, and `supported` for a design.
    asked
        What it deserves to be called.

    Returns
    -------
    `expected` status, whether there is an `artefact`; as shares of the cohorts: `as_expected`, every status of
    `STATUSES`, `wrong` (an artefact is called `within-site`, and the 95 % interval misses the truth: where that is 0,
    p < 0.05) and `supported`.
    """
    missed = (chunk["estimate"] - chunk["truth"]).abs() > stats.t.ppf(0.975, chunk["df"]) * chunk["std_error"]
    within, *_, nothing = STATUSES
    called = chunk["status"].where(chunk["status"].isin(STATUSES), nothing)
    shares = {status: float((called == status).mean()) for status in STATUSES}
    if set(chunk["status"]) & {designs.KNOWN}:
        shares = {nothing: 1 - float((chunk["status"] == designs.KNOWN).mean())}
    return pd.Series(
        {
            "expected": asked.expected,
            "artefact": asked.artefact,
            "as_expected": float((chunk["status"] == asked.expected).mean()),
            **shares,
            "wrong": float((missed & (chunk["status"] == within)).mean()) if asked.artefact else np.nan,
            "supported": float(chunk["supported"].mean()) if "supported" in chunk else np.nan,
        }
    )


def predict(scenario: simulate.Scenario, side_a: str, side_b: str, truth: float) -> float:
    """Return the rejection rate that `aida_tools.power` foresees for the model with a batch intercept.

    For equal populations that is the false positive rate of a test that leaves the sites out, for others its power;
    not a number for a true difference under site effects.
    """
    cohort = simulate.draw(scenario, np.random.default_rng(0))
    formula = parse_formula("~ population + age + sex", cohort.samples.columns)
    design = build_design(formula, cohort.samples)
    weights = design.reduce(design.vector(Contrast("population", side_a, side_b)))
    batch = pd.factorize(cohort.samples["batch"])[0]
    variance = donor_variance(simulate.DONOR_SD, scenario.share, cohort.totals)
    assumed = weights @ weighted_covariance(design.matrix, variance, batch, scenario.batch_sd) @ weights
    sites = cohort.samples.groupby("population")["site"].first()
    # Populations of two sites differ by two draws of the site effect.
    actual = assumed + 2 * scenario.site_sd**2 * (sites[side_a] != sites[side_b])
    inside, batches = sites[side_a] == sites[side_b], batch.max() + 1
    df = (len(batch) - batches if inside else batches) - design.matrix.shape[1]
    if truth == 0:
        return float(false_positive_rate(assumed**0.5, actual**0.5, df))
    return float(power_of(truth, assumed**0.5, df)) if actual == assumed else np.nan


def asked_of(scenario: str) -> dict[str, designs.Asked]:
    """Return the contrasts in question by the names that they have here; none of the sample cohort."""
    if scenario in simulate.SCENARIOS:
        across = simulate.SCENARIOS[scenario].site_sd > 0
        return {
            name: designs.Asked(f"population: {a} - {b}", truth, expected, across and expected == designs.BETWEEN)
            for name, (a, b, truth) in simulate.CONTRASTS.items()
            for expected in [name.partition(",")[0]]
        }
    known: dict[str, designs.Scenario | designs.ControlDesign] = {**designs.SCENARIOS, **designs.CONTROLS}
    return {asked.contrast: asked for asked in known[scenario].asked} if scenario in known else {}


def read(chunks: Path) -> pd.DataFrame:
    """Summarise all chunk files: one row a scenario, model and contrast."""
    rows = []
    for scenario, model in ((s, m) for s in SCENARIOS for m in (*MODELS, CONTROLS)):
        files = sorted((chunks / scenario / model).glob("*.parquet"))
        if not files:
            continue
        table, asked = pd.concat([pd.read_parquet(f) for f in files]), asked_of(scenario)
        for contrast, group in table.groupby("contrast", sort=False):
            row = summarise(group)
            # Off the logit scale only 'no effect' is the same number; elsewhere the truth is of another kind.
            if model in MODELS and MODELS[model].link != "logit" and not (group["truth"] == 0).all():
                row[["coverage", "coverage_mcse", "bias", "bias_mcse"]] = np.nan
            kind = NAMES[str(contrast)] if scenario in simulate.SCENARIOS else str(contrast)
            if scenario in simulate.SCENARIOS and model == mixed.MODEL.name:
                row["predicted"] = predict(simulate.SCENARIOS[scenario], *simulate.CONTRASTS[kind])
            names = {"scenario": scenario, "model": model, "contrast": kind}
            labels = summarise_labels(group, asked[kind]) if asked else pd.Series()
            rows.append(pd.concat([pd.Series(names), row, labels]))
    table = pd.DataFrame(rows)
    table[["cohorts", "failed"]] = table[["cohorts", "failed"]].astype(int)
    return table


def united(table: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """Add the rows of an earlier table whose scenario and model are not summarised anew, in the usual order."""
    keys = ["scenario", "model"]
    again = pd.MultiIndex.from_frame(before[keys]).isin(pd.MultiIndex.from_frame(table[keys]))
    rows = pd.concat([table, before[~again & before["scenario"].isin(SCENARIOS)]], ignore_index=True)
    place = {name: k for k, name in enumerate([*SCENARIOS, *MODELS, CONTROLS])}
    return rows.sort_values(keys, key=lambda names: names.map(place), kind="stable", ignore_index=True)


@click.command()
@click.option("--chunks", type=click.Path(path_type=Path), default=HERE / "chunks", help="Folder of the chunk files.")
@click.option("--out", type=click.Path(path_type=Path), default=HERE, help="Folder of results.tsv and the figure.")
def main(chunks: Path, out: Path) -> None:
    """Write results.tsv, calibration.png and designs.png, and both as .svg.

    Rows of results.tsv of which there is no chunk stay as they are.
    """
    path, table = out / "results.tsv", read(chunks).round(4)
    if path.exists():
        table = united(table, pd.read_csv(path, sep="\t"))
    write_tsv(table, path)
    draw_models(table[table["scenario"].isin(list(simulate.SCENARIOS))], out)
    draw_designs(table[table["scenario"].isin([*OF_DESIGNS, *OF_CONTROLS])], out)


if __name__ == "__main__":
    main()

"""From the chunk files to `results.tsv` and the figure: false positives, power, coverage and bias of every model.

python benchmarks/calibration/summarise.py
"""

from __future__ import annotations

from pathlib import Path

import click
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import planted
import simulate
from scipy import stats

from aida_tools.core.schema import write_tsv
from aida_tools.design.contrasts import Contrast
from aida_tools.design.formula import parse_formula
from aida_tools.design.matrix import build_design
from aida_tools.models import mixed
from aida_tools.models.registry import MODELS
from aida_tools.power.closed_form import donor_variance, false_positive_rate, power_of, weighted_covariance

HERE = Path(__file__).parent
WANTED = {"rejected": (0.04, 0.06), "coverage": (0.94, 0.96)}
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


def read(chunks: Path) -> pd.DataFrame:
    """Summarise all chunk files: one row a scenario, model and contrast."""
    rows = []
    for scenario in [*simulate.SCENARIOS, planted.NAME]:
        for model, spec in MODELS.items():
            files = sorted((chunks / scenario / model).glob("*.parquet"))
            if not files:
                continue
            table = pd.concat([pd.read_parquet(f) for f in files])
            for contrast, group in table.groupby("contrast", sort=False):
                row = summarise(group)
                # Off the logit scale only 'no effect' is the same number; elsewhere the truth is of another kind.
                if spec.link != "logit" and not (group["truth"] == 0).all():
                    row[["coverage", "coverage_mcse", "bias", "bias_mcse"]] = np.nan
                kind = NAMES[str(contrast)] if scenario in simulate.SCENARIOS else str(contrast)
                if scenario in simulate.SCENARIOS and model == mixed.MODEL.name:
                    row["predicted"] = predict(simulate.SCENARIOS[scenario], *simulate.CONTRASTS[kind])
                names = {"scenario": scenario, "model": model, "contrast": kind}
                rows.append(pd.concat([pd.Series(names), row]))
    table = pd.DataFrame(rows)
    table[["cohorts", "failed"]] = table[["cohorts", "failed"]].astype(int)
    return table


def draw(table: pd.DataFrame, out: Path) -> None:
    """Draw false positives and coverage by scenario, model and kind of contrast."""
    mpl.rcParams |= {
        "svg.hashsalt": "calibration",
        "svg.fonttype": "none",
        "font.size": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    models = list(dict.fromkeys(table["model"]))
    scenarios = [s for s in simulate.SCENARIOS if s in set(table["scenario"])]
    kinds = {"within-site": "#0072B2", "between-site": "#D55E00"}
    fig, axes = plt.subplots(
        2, len(scenarios), figsize=(2.1 * len(scenarios), 4.2), sharex="row", sharey=True, squeeze=False
    )
    for (row, quantity), label in zip(
        enumerate(WANTED), ("false positives at 0.05, no effect", "coverage of 95 % intervals"), strict=True
    ):
        for ax, scenario in zip(axes[row], scenarios, strict=True):
            ax.axvspan(*WANTED[quantity], color="0.88", lw=0)
            for shift, (kind, colour) in zip((-0.12, 0.12), kinds.items(), strict=True):
                part = table[(table["scenario"] == scenario) & (table["contrast"] == f"{kind}, no effect")]
                y = part["model"].map(models.index) + shift
                bar = 1.96 * part[f"{quantity}_mcse"]
                ax.errorbar(part[quantity], y, xerr=bar, fmt="o", ms=3, lw=0.8, color=colour, label=kind)
            ax.set_yticks(range(len(models)), models)
            ax.set_ylim(len(models) - 0.5, -0.5)
            if row == 0:
                ax.set_title(f"{scenario}: {simulate.SCENARIOS[scenario].words}".replace(", ", ",\n"), fontsize=7)
                ax.set_xscale("log")
                ax.set_xticks([0.05, 0.2, 0.5], ["0.05", "0.2", "0.5"])
                ax.minorticks_off()
        axes[row][len(scenarios) // 2].set_xlabel(label)
    axes[1][-1].legend(frameon=False, fontsize=7, loc="best")
    n = int(table["cohorts"].min())
    fig.suptitle(f"SYNTHETIC cohorts ({n} or more a point; bars: Monte Carlo 95 %; grey: wanted)", fontsize=8)
    fig.tight_layout()
    fig.savefig(out / "calibration.png", dpi=110, metadata={"Software": None})
    fig.savefig(out / "calibration.svg", metadata={"Date": None})
    plt.close(fig)


@click.command()
@click.option("--chunks", type=click.Path(path_type=Path), default=HERE / "chunks", help="Folder of the chunk files.")
@click.option("--out", type=click.Path(path_type=Path), default=HERE, help="Folder of results.tsv and the figure.")
def main(chunks: Path, out: Path) -> None:
    """Write results.tsv, calibration.png and calibration.svg."""
    table = read(chunks)
    write_tsv(table.round(4), out / "results.tsv")
    draw(table[table["scenario"].isin(list(simulate.SCENARIOS))], out)


if __name__ == "__main__":
    main()

"""Whether slopes differ: against the same test written out by hand on a design made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from aida_tools.claims.answers import Missing
from aida_tools.claims.model import Interaction
from aida_tools.claims.slopes import Slopes, interaction
from aida_tools.claims.verdict import Check
from aida_tools.compare.run import compare
from aida_tools.compare.step import Options
from aida_tools.core.schema import write_tsv
from aida_tools.models.cluster import fit_cluster
from aida_tools.models.data import Data, Fit
from aida_tools.models.mixed import fit_mixed
from aida_tools.results.refit import load_comparison


def asked_of(compared: Path, **more: object) -> tuple[Slopes, list[str]]:
    test = {
        "kind": "interaction",
        "cell_types": ["bent"],
        "denominator": "all",
        "populations": ["A", "C"],
        "family": "f",
    }
    return interaction(load_comparison(compared), Interaction.model_validate(test | more))


def compared_with(three: Path, samples: pd.DataFrame, folder: Path) -> Path:
    """Compare the cohort with other samples."""
    write_tsv(samples, folder / "samples.tsv")
    options = Options(models=("betabinomial-mixed",), focus="bent")
    compare(three / "counts.tsv", folder / "samples.tsv", folder / "compare", options=options)
    return folder / "compare"


@pytest.fixture(scope="module")
def by_hand(three: Path) -> Data:
    """Populations A and C, `bent`: intercept, C, age, C x age, male."""
    samples, counts = (pd.read_csv(three / f"{name}.tsv", sep="\t") for name in ("samples", "counts"))
    wide = counts.pivot(index="sample_id", columns="cell_type", values="n_cells").loc[samples["sample_id"]]
    some = samples["population"].isin(["A", "C"]).to_numpy()
    s, wide = samples[some], wide[some]
    c, age, male = s["population"].eq("C"), s["age"], s["sex"].eq("male")
    design = np.column_stack([np.ones(len(s)), c, age, c * age, male]).astype(float)
    return Data(wide[["bent"]].to_numpy(float), wide.sum(axis=1).to_numpy(float), design, pd.factorize(s["batch"])[0])


def f_test(fit: Fit) -> tuple[float, float, float]:
    """F of the one term, its degrees of freedom and p-value: the square of its t."""
    value, error, df = fit.contrast(np.array([0.0, 0, 0, 1, 0]))
    return (value / error) ** 2, df, 2 * stats.t.sf(abs(value / error), df)


def test_the_test_of_two_slopes_is_the_t_test_of_their_difference(three_compared: Path, by_hand: Data) -> None:
    found, types = asked_of(three_compared)
    fit = fit_mixed(by_hand)[0]
    assert types == ["bent"]
    assert (found.df, found.status) == (1, "within-site")
    assert (found.statistic, found.df_residual, found.p_value) == pytest.approx(f_test(fit), rel=1e-5)
    assert found.slopes["A"].value == pytest.approx(fit.coef[2], rel=1e-4)
    assert found.slopes["C"].value == pytest.approx(fit.coef[2] + fit.coef[3], rel=1e-4)


def test_its_twin_is_the_same_test_by_the_cluster_robust_model(three_compared: Path, by_hand: Data) -> None:
    wanted = f_test(fit_cluster(by_hand)[0])[2]
    assert asked_of(three_compared)[0].twin == Check("the cluster-robust model", pytest.approx(wanted, rel=1e-5))


@pytest.mark.parametrize(
    ("populations", "status"),
    [(["A", "B"], "within-site"), (["A", "C"], "between-site"), (["A", "B", "C"], "between-site")],
)
def test_populations_at_sites_of_their_own_have_slopes_of_their_own(
    three: Path, tmp_path: Path, populations: list[str], status: str
) -> None:
    """A laboratory that loses cells of the old makes a slope, which no shift of its shares is."""
    samples = pd.read_csv(three / "samples.tsv", sep="\t")
    elsewhere = samples["population"] == "C"
    batch = samples["batch"] + np.where(elsewhere, " at Y", "")
    moved = samples.assign(site=np.where(elsewhere, "Y", "X"), batch=batch)
    assert asked_of(compared_with(three, moved, tmp_path), populations=populations)[0].status == status


def test_populations_in_batches_of_their_own_have_slopes_of_their_batches(three: Path, tmp_path: Path) -> None:
    samples = pd.read_csv(three / "samples.tsv", sep="\t")
    apart = samples.assign(batch=samples["batch"] + samples["population"])
    assert asked_of(compared_with(three, apart, tmp_path))[0].status == "between-batch"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"populations": ["A", "Z"]}, "no sample of population Z"),
        ({"column": "sex"}, "'sex' is not a number"),
        ({"column": "bmi"}, "'bmi' is not a number"),
        ({"cell_types": ["none"]}, "does not count none"),
    ],
)
def test_what_is_missing_is_named(three_compared: Path, change: dict, words: str) -> None:
    with pytest.raises(Missing, match=words):
        asked_of(three_compared, **change)

"""The planted composition: algebra, and estimates by estimators that know nothing of how it was made."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.contingency_tables import StratifiedTable

from aida_tools.sample import composition
from aida_tools.sample.run import Cohort, _table, check_batches, draw_cohort
from aida_tools.sample.truth import EFFECTS, SDS, describe, sets

TYPES = _table("types")
NAMES = TYPES["label"].tolist()
BASE = TYPES["n_cells"].to_numpy(float)
TREG = NAMES.index("Treg")
CD4 = sets(TYPES)["CD4_T"]


def draw(seed: int, *, donors: int = 15, cells: int = 120, **batches: int) -> Cohort:
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(3)]
    return draw_cohort(check_batches(batches), donors, cells, streams)


def planted(populations: list[str], sex: str = "female", age: float = 40.0) -> np.ndarray:
    n = len(populations)
    eta = composition.fixed_effects(composition.covariates(populations, [sex] * n, np.full(n, age)), EFFECTS, NAMES)
    return composition.type_shares(eta, BASE, CD4, TREG)


def odds_ratio(table: np.ndarray) -> float:
    (a, b), (c, d) = table
    return a * d / (b * c)


def test_the_base_is_the_published_mix() -> None:
    assert BASE.sum() == 1_265_624
    shares = composition.type_shares(np.zeros((1, len(NAMES))), BASE, CD4, TREG)
    np.testing.assert_allclose(shares[0], BASE / 1_265_624)
    assert shares[0, TREG] / shares[0, CD4].sum() == pytest.approx(15_497 / 361_823)


def test_the_focus_effect_is_an_odds_ratio_within_its_set_and_leaves_the_set_alone() -> None:
    rng = np.random.default_rng(5)
    eta = np.repeat(rng.normal(0, 0.5, (1, len(NAMES))), 2, axis=0)
    eta[1, TREG] = eta[0, TREG] + np.log(3)
    shares = composition.type_shares(eta, BASE, CD4, TREG)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    part = shares[:, TREG] / shares[:, CD4].sum(axis=1)
    assert part[1] / (1 - part[1]) / (part[0] / (1 - part[0])) == pytest.approx(3)
    np.testing.assert_allclose(shares[0, ~CD4], shares[1, ~CD4])
    others = CD4.copy()
    others[TREG] = False
    ratio = shares[1, others] / shares[0, others]
    np.testing.assert_allclose(ratio, ratio[0])


@pytest.mark.parametrize(
    ("population", "expected"),
    [("SG_Malay", 1.0), ("SG_Indian", 1.4), ("Korean", 0.65), ("Thai", 1.0), ("Indian", 1.2)],
)
def test_pooled_counts_recover_the_planted_odds_ratios(population: str, expected: float) -> None:
    counts = np.random.default_rng(1).multinomial(20_000_000, planted([population, "SG_Chinese"]))
    table = np.stack([counts[:, TREG], counts[:, CD4].sum(axis=1) - counts[:, TREG]], axis=1)
    # 2 x 20 million cells: a standard error of about 0.003 on the log scale.
    assert np.log(odds_ratio(table)) == pytest.approx(np.log(expected), abs=0.012)


def test_truth_states_the_odds_ratio_for_every_denominator() -> None:
    cohort = draw(3)
    truth = describe(cohort.samples, cohort.types, cohort.effects, {})
    for population, stated in truth["populations"].items():
        shares = planted([population, "SG_Chinese"])
        for name, members in sets(TYPES).items():
            rest = shares[:, members].sum(axis=1) - shares[:, TREG]
            assert stated["odds_ratio"][name] == pytest.approx(odds_ratio(np.stack([shares[:, TREG], rest], axis=1)))
    thai = truth["populations"]["Thai"]["odds_ratio"]
    # Fewer monocytes make every other share of all cells larger: a shift of Treg that is none of Treg's doing.
    assert thai["CD4_T"] == pytest.approx(1)
    assert thai["all"] > 1.05


def test_other_planted_effects_go_the_way_they_say() -> None:
    def share(label: str, **who: object) -> float:
        return float(planted(["SG_Chinese"], **who)[0, NAMES.index(label)])  # type: ignore[arg-type]

    assert share("CD8+_T_naive", age=70) < 0.6 * share("CD8+_T_naive", age=40)
    assert share("naive_B", sex="male") < 0.85 * share("naive_B", sex="female")
    monocytes = planted(["Thai", "SG_Chinese"])[:, NAMES.index("CD14+_Monocyte")]
    assert monocytes[0] < 0.8 * monocytes[1]


def test_within_batch_estimates_are_unbiased_over_seeds() -> None:
    """Mantel-Haenszel over the Singapore batches of many cohorts, which no batch or site effect can bias."""
    tables: dict[str, list[np.ndarray]] = {"SG_Malay": [], "SG_Indian": []}
    for seed in range(40):
        cohort = draw(seed)
        rows = cohort.samples.assign(
            treg=cohort.counts[:, TREG], rest=cohort.counts[:, CD4].sum(axis=1) - cohort.counts[:, TREG]
        )
        rows = rows[rows["trap"] != "no_treg"]
        sums = rows.groupby(["batch", "population"])[["treg", "rest"]].sum()
        for population, found in tables.items():
            found += [
                sums.loc[[(batch, population), (batch, "SG_Chinese")]].to_numpy(float)
                for batch in pd.unique(rows.loc[rows["site"] == "SG", "batch"])
            ]
    for population, expected in {"SG_Malay": 1.0, "SG_Indian": 1.4}.items():
        assert StratifiedTable(np.array(tables[population]).T).oddsratio_pooled == pytest.approx(expected, rel=0.08)


def test_random_effects_have_the_planted_spread() -> None:
    drawn = [draw(seed).effects for seed in range(60)]
    for level, planted_sds in SDS.items():
        for label, sd in zip(("Treg", "naive_B"), planted_sds, strict=True):
            values = np.concatenate([effects[level][label].to_numpy() for effects in drawn])
            # 5 sites x 60 seeds are the fewest: a relative standard error of 0.04.
            assert values.std() == pytest.approx(sd, rel=0.15)


def test_donors_scatter_more_than_binomially() -> None:
    cohort = draw(2, cells=5000, SG=20)
    here = (
        (cohort.samples["site"] == "SG") & ~cohort.samples["is_control"] & (cohort.samples["trap"] == "")
    ).to_numpy()
    n, k = cohort.counts[here][:, CD4].sum(axis=1), cohort.counts[here, TREG]
    logit = np.log(k / (n - k)) - np.log(cohort.samples["population"][here].map({"SG_Indian": 1.4}).fillna(1.0))
    binomial = np.mean(1 / k + 1 / (n - k))
    between_donors = np.sqrt(logit.var() - binomial)
    # Donor 0.25 and batch 0.10, with age and sex on top.
    assert 0.24 < between_donors < 0.36

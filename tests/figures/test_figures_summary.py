"""Medians, intervals and colours: against scipy, statsmodels and the published table."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from aida_tools.figures.style import Palette, cycle, on, shade, wrap
from aida_tools.figures.summary import cell_intervals, median_interval
from aida_tools.models.registry import MODELS
from aida_tools.results.scale import to_ratio


@pytest.mark.parametrize(
    ("n", "k"),
    # Ranks of the distribution-free 95 % interval of the median, as tabulated (e.g. Altman, Practical Statistics
    # for Medical Research, table B11).
    [(6, 1), (8, 1), (9, 2), (10, 2), (12, 3), (15, 4), (20, 6), (30, 10), (50, 18), (100, 40)],
)
def test_median_interval_has_the_tabulated_ranks(n: int, k: int) -> None:
    values = np.random.default_rng(0).permutation(np.arange(1.0, n + 1))
    assert median_interval(values) == (np.median(values), k, n + 1 - k)


def test_median_interval_covers_the_median_of_skewed_shares() -> None:
    rng = np.random.default_rng(3)
    truth = stats.beta.median(2, 40)
    hits = [low <= truth <= high for _, low, high in (median_interval(rng.beta(2, 40, 25)) for _ in range(2000))]
    assert 0.945 < np.mean(hits) < 0.985


def test_median_interval_of_few_values_has_no_limits() -> None:
    assert median_interval(np.array([])) == pytest.approx((np.nan,) * 3, nan_ok=True)
    assert median_interval(np.array([0.1, np.nan, 0.3])) == pytest.approx((0.2, np.nan, np.nan), nan_ok=True)


def test_cell_intervals_are_wilsons() -> None:
    n, total = np.array([0.0, 3, 50, 10]), np.array([40.0, 60, 50, 0])
    low, high = cell_intervals(n, total)
    expected = proportion_confint(n[:3], total[:3], method="wilson")
    np.testing.assert_allclose(low[:3], expected[0], atol=1e-12)
    np.testing.assert_allclose(high[:3], expected[1], atol=1e-12)
    assert np.isnan([low[3], high[3]]).all()


def test_text_on_any_population_colour_is_readable(palette: Palette) -> None:
    def luminance(colour: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    for code in ("SG_Chinese", "Korean", "Thai", "unknown", "not in the table"):
        for amount in (0.0, 0.3, 0.7):
            back = shade(palette.colour(code), amount)
            light, dark = sorted([luminance(back), luminance(on(back))], reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.0


def test_palette_keeps_the_tables_order_and_lets_unknown_codes_through(palette: Palette) -> None:
    assert palette.order(["Thai", "Zulu", "Korean", "SG_Chinese"]) == ["SG_Chinese", "Korean", "Thai", "Zulu"]
    assert palette.label("Zulu_North") == "Zulu North"
    assert palette.contrast("population: Korean - rest") == "Korean – all others"
    assert palette.contrast("population: SG_Malay - Korean") == "Singaporean Malay – Korean"
    assert palette.contrast("age") == "age"


def test_no_two_populations_of_a_set_look_alike(palette: Palette) -> None:
    known = ["SG_Chinese", "Chinese", "Han_Chinese", "Korean"]
    many = [*known, *(f"Cohort_{i}" for i in range(18))]
    colours = {code: palette.among(many).colour(code) for code in many}
    assert {code: colours[code] for code in known} == {code: palette.colour(code) for code in known}
    rgb = np.array([to_rgb(colour) for code, colour in colours.items()])
    apart = np.linalg.norm(rgb[:, None] - rgb, axis=2)
    unknown = apart[len(known) :]
    assert np.sort(unknown, axis=1)[:, 1].min() > 0.1
    # The same set has the same colours, whatever the order of its names; a part of it keeps them.
    again = palette.among(reversed(many))
    assert {code: again.colour(code) for code in many} == colours
    assert palette.among(many).among(["Cohort_7"]).colour("Cohort_7") == colours["Cohort_7"]
    assert palette.among(["Cohort_7"]).colour("Cohort_7") == cycle(0)


def test_wrap_breaks_at_underscores_and_keeps_every_letter() -> None:
    text = wrap("a_very_long_name_of_a_cell_type", 12)
    assert max(map(len, text.split("\n"))) <= 12
    assert text.replace("\n", "") == "a_very_long_name_of_a_cell_type"


def test_only_models_on_a_ratio_scale_are_drawn_as_ratios() -> None:
    """Every model of `compare` has a look exactly if its estimates are log odds ratios or log ratios of shares."""
    for name, model in MODELS.items():
        said = to_ratio({"model": name, "estimate": 0.1, "ci_low": 0.0, "ci_high": 0.2})
        if model.link == "logit":
            assert said is not None, name
            assert said[0] == "odds ratio"
            assert said[1] == pytest.approx(np.exp(0.1))
        elif model.link == "log10":
            assert said is not None, name
            assert said[0] == "ratio of shares"
            assert said[1] == pytest.approx(10**0.1)
        else:
            assert said is None, name
    assert to_ratio({"model": "betabinomial", "estimate": np.nan, "ci_low": np.nan, "ci_high": np.nan}) is None

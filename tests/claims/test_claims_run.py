"""`aida-tools claims` on SYNTHETIC cohorts whose truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from statsmodels.stats.multitest import multipletests

from aida_tools.claims.model import Claims, Untestable, load_claims
from aida_tools.claims.shifts import shifts
from aida_tools.claims.verdict import NOT_SUPPORTED, NOT_TESTABLE, SHOWN, SUPPORTED
from aida_tools.cli import main
from aida_tools.compare.run import compare
from aida_tools.compare.step import Options
from aida_tools.compare.tables import read_estimates
from aida_tools.core.schema import write_tsv
from aida_tools.design.contrasts import Contrast
from aida_tools.sample.run import check_batches, draw_cohort
from aida_tools.sample.truth import sets

ALIASED = SHOWN["between-site"]


def flip(contrast: str) -> str:
    return str(Contrast.parse(contrast).flipped())


B_CELLS = ["naive_B", "memory_B_IGHMhi", "memory_B_IGHMlo", "atypical_B", "Plasma_Cell", "B"]


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["claims", *map(str, arguments)])
    return result.exit_code, result.output


def verdicts(compared: Path, claims: Path, out: Path) -> pd.DataFrame:
    code, output = run(compared, "--claims", claims, "--out", out)
    assert code == 0, output
    return pd.read_csv(out / "claims.tsv", sep="\t").set_index("claim")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample cohort's counts, with enough donors and cells to see what is planted in it."""
    drawn = draw_cohort(
        check_batches({"SG": 10, "KR": 6, "JP": 6, "TH": 5, "IN": 0}), 15, 1500, np.random.default_rng(11).spawn(3)
    )
    samples, names = drawn.samples, drawn.types["label"].tolist()
    samples = samples.assign(sample_id=samples["donor_id"] + "|" + samples["batch"])
    folder = tmp_path_factory.mktemp("cohort")
    columns = ["sample_id", "donor_id", "population", "site", "batch", "sex", "age", "is_control", "n_cells"]
    write_tsv(samples[columns], folder / "samples.tsv")
    long = pd.DataFrame(drawn.counts, index=samples["sample_id"], columns=names).stack().reset_index()
    long.columns = ["sample_id", "cell_type", "n_cells"]
    write_tsv(long.assign(annotator="author"), folder / "counts.tsv")
    members = [
        (name, "author", t) for name, m in sets(drawn.types).items() for t, on in zip(names, m, strict=True) if on
    ]
    write_tsv(pd.DataFrame(members, columns=["denominator", "annotator", "cell_type"]), folder / "denominators.tsv")
    return folder


@pytest.fixture(scope="module")
def compared(cohort: Path) -> Path:
    out, options = cohort / "compare", Options(models=("betabinomial-mixed",), one_vs_rest=True)
    denominators = cohort / "denominators.tsv"
    compare(cohort / "counts.tsv", cohort / "samples.tsv", out, denominators_path=denominators, options=options)
    return out


@pytest.fixture(scope="module")
def told(compared: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return verdicts(compared, root / "config" / "claims.yaml", tmp_path_factory.mktemp("claims"))


@pytest.mark.parametrize(
    ("claim", "verdict"),
    [
        ("korean-lowest-treg", ALIASED),
        ("thai-fewer-monocytes", ALIASED),
        ("age-lowers-naive-cd8", SUPPORTED),
        ("men-fewer-b-cells", SUPPORTED),
        # Not planted.
        ("malay-more-b-cells", NOT_SUPPORTED),
        ("indian-fewer-nk-cells", NOT_SUPPORTED),
        ("age-naive-cd4-by-population", NOT_SUPPORTED),
        ("treg-deficit-alopecia", NOT_TESTABLE),
        ("low-t-immuno-oncology", NOT_TESTABLE),
    ],
)
def test_verdicts_agree_with_what_is_planted(told: pd.DataFrame, claim: str, verdict: str) -> None:
    assert told.loc[claim, "verdict"] == verdict, told.loc[claim, "evidence"]


def test_no_contrast_between_sites_is_plainly_supported(told: pd.DataFrame) -> None:
    assert not (told["status"].eq("between-site") & told["verdict"].eq(SUPPORTED)).any()
    tested = told.dropna(subset="p_value")
    assert (tested["q_value"] >= tested["p_value"]).all()
    assert tested["evidence"].str.len().min() > 60


def test_the_file_of_claims_is_words_with_sources(root: Path) -> None:
    listed = load_claims(root / "config" / "claims.yaml")
    for claim in listed.claims:
        assert "%" not in claim.statement
        words = claim.statement.replace("CD4", "").replace("CD8", "")
        assert not any(c.isdigit() for c in words), "no number is to be quoted"
        assert claim.sources
    medical = [c for c in listed.claims if isinstance(c.test, Untestable) and c.test.medical]
    assert {c.id for c in medical} >= {"treg-deficit-alopecia", "treg-deficit-lupus", "low-t-immuno-oncology"}
    assert "not medical advice" in listed.notice


def test_claims_about_disease_carry_the_notice_and_what_is_needed(told: pd.DataFrame) -> None:
    text = told.loc["treg-deficit-lupus", "evidence"]
    assert "not medical advice" in text
    assert "Needed:" in text
    assert "not medical advice" not in told.loc["korean-lowest-treg", "evidence"]


def write_claims(path: Path, *tests: dict, **top: object) -> Path:
    said = {"statement": "Something is said.", "sources": [{"name": "x", "url": "https://x.org"}]}
    claims = [{"id": f"claim-{i}", "test": test, **said} for i, test in enumerate(tests)]
    path.write_text(yaml.safe_dump({"notice": "This is not medical advice at all.", "claims": claims} | top))
    return path


def test_a_sum_of_types_is_what_compare_makes_of_summed_counts(cohort: Path, compared: Path, tmp_path: Path) -> None:
    counts = pd.read_csv(cohort / "counts.tsv", sep="\t")
    counts["cell_type"] = np.where(counts["cell_type"].isin(B_CELLS), "all_B", "other")
    write_tsv(counts.groupby(["sample_id", "cell_type"], as_index=False)["n_cells"].sum(), tmp_path / "counts.tsv")
    options = Options(models=("betabinomial-mixed",), denominators=("all",))
    compare(tmp_path / "counts.tsv", cohort / "samples.tsv", tmp_path / "summed", options=options)
    wanted = read_estimates(tmp_path / "summed" / "estimates.tsv").set_index(["cell_type", "contrast"]).loc["all_B"]
    test = {"cell_types": B_CELLS, "denominator": "all", "direction": "lower", "family": "f"}
    pairs = ["sex: male - female", "population: Thai - Korean", "age"]
    claims = write_claims(tmp_path / "c.yaml", *({**test, "contrasts": [pair], "per": 10} for pair in pairs))
    told = verdicts(compared, claims, tmp_path / "out")
    assert told.loc["claim-0", "estimate"] == pytest.approx(wanted.loc[pairs[0], "estimate"], abs=1e-6)
    assert told.loc["claim-0", "ci_low"] == pytest.approx(wanted.loc[pairs[0], "ci_low"], abs=1e-6)
    assert told.loc["claim-1", "estimate"] == pytest.approx(-wanted.loc[flip(pairs[1]), "estimate"], abs=1e-6)
    assert told.loc["claim-2", "estimate"] == pytest.approx(10 * wanted.loc["age", "estimate"], abs=1e-6)
    assert told.loc["claim-2", "unit"] == "per 10 years"


def test_a_set_counts_the_cells_of_a_denominator(cohort: Path, compared: Path, tmp_path: Path) -> None:
    sets_table = pd.read_csv(cohort / "denominators.tsv", sep="\t")
    members = sets_table.loc[sets_table["denominator"] == "T", "cell_type"].tolist()
    test = {"denominator": "all", "contrasts": ["population: Korean - rest"], "direction": "lower", "family": "f"}
    claims = write_claims(tmp_path / "c.yaml", {**test, "set": "T"}, {**test, "cell_types": members})
    told = verdicts(compared, claims, tmp_path / "out")
    assert told.loc["claim-0", "estimate"] == pytest.approx(told.loc["claim-1", "estimate"])


def test_estimates_are_taken_over_and_turned_around(compared: Path, tmp_path: Path) -> None:
    test = {"cell_types": ["Treg"], "denominator": "CD4_T", "direction": "lower", "family": "f"}
    pair = "population: Korean - Japanese"
    claims = write_claims(tmp_path / "c.yaml", {**test, "contrasts": [pair]}, {**test, "contrasts": [flip(pair)]})
    told = verdicts(compared, claims, tmp_path / "out")
    table = read_estimates(compared / "estimates.tsv")
    here = table["cell_type"].eq("Treg") & table["denominator"].eq("CD4_T") & table["contrast"].eq(flip(pair))
    wanted = table[here & table["model"].eq("betabinomial-mixed")].iloc[0]
    assert told.loc["claim-1", ["estimate", "ci_low", "ci_high"]].tolist() == pytest.approx(
        wanted[["estimate", "ci_low", "ci_high"]].tolist()
    )
    assert told.loc["claim-0", ["estimate", "ci_low", "ci_high"]].tolist() == pytest.approx(
        [-wanted["estimate"], -wanted["ci_high"], -wanted["ci_low"]]
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cell_types": ["Tregs"]}, "does not count Tregs"),
        ({"denominator": "CD8_T"}, "no denominator 'CD8_T'"),
        ({"contrasts": ["population: Finnish - rest"]}, "no sample of population Finnish"),
        ({"contrasts": ["bmi"]}, "no sample has a value of 'bmi'"),
        ({"cell_types": [], "set": "NK"}, "no set 'NK'"),
        ({"contrasts": ["site: KR - JP"]}, "'site' is not in the formula"),
    ],
)
def test_what_the_cohort_does_not_have_makes_a_claim_not_testable(
    compared: Path, tmp_path: Path, change: dict, words: str
) -> None:
    test = {
        "cell_types": ["Treg"], "denominator": "CD4_T", "contrasts": ["age"], "direction": "lower", "family": "f",
    }  # fmt: skip
    told = verdicts(compared, write_claims(tmp_path / "c.yaml", test | change, test), tmp_path / "out")
    assert told.loc["claim-0", "verdict"] == NOT_TESTABLE
    assert words in told.loc["claim-0", "evidence"]
    assert told.loc["claim-1", "verdict"] != NOT_TESTABLE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("claims: []\nnotice: This is not medical advice.", "key 'claims'"),
        ("clams: 1", "unknown key 'clams'. Did you mean 'claims'?"),
        ("[", "not valid YAML"),
    ],
)
def test_a_wrong_file_is_refused(compared: Path, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    code, output = run(compared, "--claims", tmp_path / "c.yaml", "--out", tmp_path / "out")
    assert code == 1
    assert words in output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"direction": "fewer"}, "'fewer'"),
        ({"kind": "guess"}, "kind"),
        ({"set": "T"}, "give either 'cell_types' or 'set'"),
        ({"margins": 1.3}, "Did you mean 'margin'?"),
    ],
)
def test_a_wrong_test_is_refused(compared: Path, tmp_path: Path, change: dict, words: str) -> None:
    test = {"cell_types": ["Treg"], "denominator": "all", "contrasts": ["age"], "direction": "lower", "family": "f"}
    claims = write_claims(tmp_path / "c.yaml", test | change)
    code, output = run(compared, "--claims", claims, "--out", tmp_path / "out")
    assert code == 1
    assert words in output


def test_slopes_that_differ_are_found_and_slopes_alone_do_not_make_them(three: Path, tmp_path: Path) -> None:
    options = Options(models=("betabinomial-mixed",), focus="bent")
    compare(three / "counts.tsv", three / "samples.tsv", tmp_path / "compare", options=options)
    test = {"kind": "interaction", "denominator": "all", "populations": ["A", "B", "C"], "family": "age"}
    claims = write_claims(
        tmp_path / "c.yaml", {**test, "cell_types": ["bent"]}, {**test, "cell_types": ["parallel"]},
        {**test, "cell_types": ["bent"], "populations": ["A", "Z"]},
    )  # fmt: skip
    told = verdicts(tmp_path / "compare", claims, tmp_path / "out")
    assert told["verdict"].tolist() == [SUPPORTED, NOT_SUPPORTED, NOT_TESTABLE]
    slopes = {
        part[0]: float(part[2:]) for part in told.loc["claim-0", "evidence"].split(": ")[1].split(". ")[0].split("; ")
    }
    assert slopes["C"] == pytest.approx(np.exp(-0.3), abs=0.08)
    assert slopes["A"] == pytest.approx(1, abs=0.08)
    assert "does not show that they are equal" in told.loc["claim-1", "evidence"]


def test_a_model_of_differences_inside_batches_is_fitted_as_such(three: Path, tmp_path: Path) -> None:
    options = Options(models=("betabinomial-batch",), focus="bent")
    compare(three / "counts.tsv", three / "samples.tsv", tmp_path / "compare", options=options)
    test = {"denominator": "all", "contrasts": ["population: C - A"], "direction": "lower", "family": "f"}
    claims = write_claims(
        tmp_path / "c.yaml", {**test, "cell_types": ["bent", "parallel"]}, {**test, "cell_types": ["rest"]}
    )
    told = verdicts(tmp_path / "compare", claims, tmp_path / "out")
    # All but the rest is the rest turned around.
    assert told.loc["claim-0", "estimate"] == pytest.approx(-told.loc["claim-1", "estimate"], abs=1e-6)
    assert told.loc["claim-0", "model"] == "betabinomial-batch"


def test_shifts_rank_all_types_with_their_own_false_discovery_rate(compared: Path) -> None:
    estimates = read_estimates(compared / "estimates.tsv")
    table = shifts(estimates, "Treg", "betabinomial-mixed")
    assert set(table["kind"]) == {"population", "age", "sex"}
    assert not table["contrast"].str.contains("Korean - Thai").any()
    for _, part in table.groupby(["denominator", "contrast"]):
        known = part.dropna(subset="p_value")
        assert known["q_value"].to_numpy() == pytest.approx(multipletests(known["p_value"], method="fdr_bh")[1])
        assert (known["p_value"].rank(method="min") == known["rank"]).all()
        assert part["is_focus"].sum() == 1
        assert part["status"].nunique() == 1
    korean = table[table["contrast"].eq("population: Korean - rest") & table["denominator"].eq("all")]
    # Planted: only Treg moves in Koreans; the unresolved types move with the sites.
    assert korean.loc[korean["is_focus"], "rank"].item() <= 4


def test_shifts_of_two_populations_are_their_pair() -> None:
    same = {"cohort": "c", "annotator": "a", "denominator": "all", "model": "m", "contrast": "population: A - B"}
    numbers = {"status": "within-site", "ci_low": 0.0, "ci_high": 1.0, "share_a": 0.1, "share_b": 0.1, "note": None}
    rows = pd.DataFrame({"cell_type": ["x", "y"], "estimate": [0.1, np.nan], "p_value": [0.04, np.nan]})
    rows = rows.assign(**same, **numbers)
    table = shifts(rows, "x", "m")
    assert table["rank"].tolist() == [1, pd.NA]
    assert table["n_types"].tolist() == [1, 1]


def test_the_schema_that_editors_use_says_the_same(root: Path) -> None:
    """The JSON schema of the class takes the project's own file, and refuses what the class refuses."""
    check = Draft202012Validator(Claims.model_json_schema()).is_valid
    values = yaml.safe_load((root / "config" / "claims.yaml").read_text())
    assert check(values)
    assert not check(values | {"claim": []})
    assert not check({k: v for k, v in values.items() if k != "notice"})
    first = values["claims"][0]
    assert not check(values | {"claims": [first | {"test": first["test"] | {"direction": "below"}}]})

"""Tables of `aida-tools agreement`: the right cells in every row, named states, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.special import expit
from sklearn.metrics import average_precision_score, cohen_kappa_score, confusion_matrix

from aida_tools.agreement.run import agreement
from aida_tools.agreement.step import Options
from aida_tools.cli import main
from aida_tools.core.errors import AidaError
from aida_tools.core.options import make
from aida_tools.core.schema import TABLES, write_parquet, write_tsv

SETS = {"CD4_T": ["Treg", "CD4_other", "CD4+_T"], "T": ["Treg", "CD4_other", "CD4+_T", "CD8", "T"]}


def write_labels(folder: Path, cell_id: pd.Series, types: np.ndarray, **columns: object) -> Path:
    folder.mkdir()
    table = pd.DataFrame({"cell_id": cell_id, "cell_type": pd.Categorical(types)} | columns)
    write_parquet(table, folder / "labels.parquet")
    rows = [(name, folder.name, member) for name, members in SETS.items() for member in members]
    write_tsv(pd.DataFrame(rows, columns=["denominator", "annotator", "cell_type"]), folder / "sets.tsv")
    return folder


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, pd.DataFrame]:
    """Cells of 9 donors at 3 sites with labels of three annotators; one cell has no site, some have no label."""
    rng = np.random.default_rng(7)
    n = 1800
    donor = rng.integers(0, 9, n)
    cells = pd.DataFrame(
        {
            "cell_id": [f"c{i}" for i in range(n)],
            "sample_id": [f"s{d}" for d in donor],
            "donor_id": pd.Categorical([f"d{d}" for d in donor]),
            "site": pd.Categorical(np.array(["SG", "JP", "KR"])[donor % 3]),
            "batch": [f"b{d // 2}" for d in donor],
        }
    )
    cells.loc[0, "site"] = None
    types = np.array(["Treg", "CD4_other", "CD4+_T", "CD8", "T", "B"], dtype=object)
    author = rng.choice(types, n, p=[0.1, 0.4, 0.05, 0.2, 0.05, 0.2])
    other = np.where(rng.random(n) < 0.8, author, rng.choice(types[[0, 1, 3, 5]], n))
    third = np.where(rng.random(n) < 0.5, author, "B").astype(object)
    third[5:25] = None
    third[30:40] = "T_unresolved"
    write_parquet(cells, tmp_path / "cells.parquet")
    write_parquet(cells[["cell_id"]].assign(total=rng.integers(100, 9000, n)), tmp_path / "scan.parquet")
    for name, given in (("gate", other), ("author", author), ("third", third)):
        write_labels(tmp_path / name, cells["cell_id"], given)
    return tmp_path, cells.assign(author=author, gate=other, third=third)


def run(folder: Path, *names: str, scan: bool = False, **options: object) -> dict[str, pd.DataFrame]:
    """Return the tables; with `scan` also those by depth, which take as long as all others."""
    out = folder / "out"
    agreement(
        folder / "cells.parquet",
        [folder / name for name in names],
        out,
        scan_path=folder / "scan.parquet" if scan else None,
        options=make(Options, {"unresolved": ["CD4+_T", "T"]} | options, "the test"),
    )
    for path in out.glob("*.tsv"):
        TABLES[path.name].read(out)
    return {p.stem: pd.read_csv(p, sep="\t", keep_default_na=False, na_values=[""]) for p in out.glob("*.tsv")}


def one(table: pd.DataFrame, **keys: str) -> pd.Series:
    for column, value in keys.items():
        table = table[table[column].astype(str) == value]
    assert len(table) == 1
    return table.iloc[0]


def test_confusion_is_that_of_sklearn_and_counts_every_cell(made: tuple[Path, pd.DataFrame]) -> None:
    folder, cells = made
    table = run(folder, "author", "gate", "third")["confusion"]
    pair = table[(table["annotator_a"] == "author") & (table["annotator_b"] == "gate")]
    names = sorted({*cells["author"], *cells["gate"]})
    wide = pair.pivot(index="cell_type_a", columns="cell_type_b", values="n_cells").fillna(0)
    expected = confusion_matrix(cells["author"], cells["gate"], labels=names)
    np.testing.assert_array_equal(wide.reindex(index=names, columns=names, fill_value=0), expected)
    assert (table["n_cells"] > 0).all()
    assert (table.groupby(["annotator_a", "annotator_b"])["n_cells"].sum() == len(cells)).all()
    assert table.loc[table["cell_type_b"] == "unlabelled", "n_cells"].sum() == 2 * 20


def test_every_row_is_of_the_cells_it_names(made: tuple[Path, pd.DataFrame]) -> None:
    folder, cells = made
    table = run(folder, "gate", "author", within=("CD4_T",))["agreement"]
    author, gate = (cells[c] == "Treg" for c in ("author", "gate"))
    for site in ("SG", "JP", "KR"):
        here = (cells["site"] == site).to_numpy()
        at = {"stratum": "site", "level": site}
        row = one(table, **at, measure="kappa", within="all")
        assert row["estimate"] == pytest.approx(cohen_kappa_score(author[here], gate[here]))
        assert (row["n_cells"], row["n_donors"]) == (here.sum(), 3)
        known = here & ~cells["author"].isin(["CD4+_T", "T"]).to_numpy()
        assert one(table, **at, measure="sensitivity", within="all")["estimate"] == pytest.approx(
            (author & gate)[known].sum() / author[known].sum()
        )
        cd4 = known & cells["author"].isin(SETS["CD4_T"]).to_numpy()
        row = one(table, **at, measure="specificity", within="CD4_T")
        assert row["n_cells"] == (cd4 & ~author).sum()
        assert row["estimate"] == pytest.approx((~author & ~gate)[cd4].sum() / (cd4 & ~author).sum())
        own = here & cells["gate"].isin(SETS["CD4_T"]).to_numpy()
        row = one(table, **at, measure="rate", within="CD4_T", annotator_a="gate")
        assert row["estimate"] == pytest.approx(gate[own].mean())
    assert set(table.loc[table["stratum"] == "donor", "level"]) == {f"d{i}" for i in range(9)}
    assert list(table.loc[table["stratum"] == "site", "level"].unique()) == ["JP", "KR", "SG"]


def test_cells_without_a_site_are_in_no_site_and_tenths_hold_all(made: tuple[Path, pd.DataFrame]) -> None:
    folder, cells = made
    tables = run(folder, "author", "gate", scan=True)
    rates = tables["agreement"].query("measure == 'rate' and annotator_a == 'author'")
    cells_of = rates.groupby("stratum")["n_cells"].sum()
    assert cells_of["all"] == cells_of["batch"] == cells_of["donor"] == cells_of["depth"] == len(cells)
    assert cells_of["site"] == cells_of["site|depth"] == len(cells) - 1
    assert tables["depth"]["n_cells"].sum() == len(cells)
    assert tables["depth"]["n_cells"].between(150, 210).all()


def test_without_a_scan_there_is_no_depth(made: tuple[Path, pd.DataFrame]) -> None:
    tables = run(made[0], "author", "gate")
    assert "depth" not in tables
    assert set(tables["agreement"]["stratum"]) == {"all", "site", "batch", "donor"}


def test_the_truth_is_the_author_or_the_first_or_the_one_named(made: tuple[Path, pd.DataFrame]) -> None:
    folder, _ = made
    for names, options, truth in (
        (("gate", "author"), {}, "author"),
        (("gate", "third"), {}, "gate"),
        (("gate", "author"), {"truth": "gate"}, "gate"),
    ):
        table = run(folder, *names, **options)["agreement"]
        assert set(table.loc[table["measure"] == "sensitivity", "annotator_a"]) == {truth}


def test_unresolved_cells_are_counted_by_annotator_and_site(made: tuple[Path, pd.DataFrame]) -> None:
    folder, cells = made
    table = run(folder, "author", "third")["unresolved"]
    vague = cells["author"].isin(["CD4+_T", "T"])
    assert one(table, annotator_a="author", stratum="all")["estimate"] == pytest.approx(vague.mean())
    here = cells["site"] == "KR"
    assert one(table, annotator_a="author", level="KR")["estimate"] == pytest.approx(vague[here].mean())
    here = cells["batch"] == cells["batch"].dropna().iloc[0]
    by_batch = one(table, annotator_a="author", stratum="batch", level=cells["batch"].dropna().iloc[0])
    assert by_batch["estimate"] == pytest.approx(vague[here].mean())
    third = cells["third"].isna() | cells["third"].isin(["CD4+_T", "T", "T_unresolved"])
    assert one(table, annotator_a="third", stratum="all")["estimate"] == pytest.approx(third.mean())
    named = run(folder, "author", unresolved=("B",))["unresolved"]
    assert one(named, stratum="all")["estimate"] == pytest.approx((cells["author"] == "B").mean())


def test_who_has_no_word_for_the_focus_type_is_no_truth_of_it(made: tuple[Path, pd.DataFrame]) -> None:
    """Cells sorted into CD4 and CD8 do not say that a Treg among the CD4 is wrong."""
    folder, cells = made
    coarse = cells["author"].replace({"Treg": "CD4_other"}).to_numpy(object)
    write_labels(folder / "sorted", cells["cell_id"], coarse)
    sets = pd.read_csv(folder / "sorted" / "sets.tsv", sep="\t")
    write_tsv(sets[sets["cell_type"] != "Treg"], folder / "sorted" / "sets.tsv")
    tables = run(folder, "sorted", "gate", truth="sorted")
    assert set(tables["agreement"]["measure"]) == {"rate", "kappa", "agreement"}
    assert tables["curves"].empty
    assert tables["calibration"].empty
    assert tables["confusion"]["n_cells"].sum() == len(cells)


def test_states_are_named(made: tuple[Path, pd.DataFrame]) -> None:
    folder, cells = made
    never = np.where(cells["author"] == "Treg", "CD8", cells["author"]).astype(object)
    write_labels(folder / "never", cells["cell_id"], never)
    table = run(folder, "author", "never")["agreement"]
    states = {m: one(table, stratum="all", measure=m) for m in ("kappa", "sensitivity", "specificity", "precision")}
    assert {m: row["status"] for m, row in states.items()} == {
        "kappa": "one_answer", "sensitivity": "no_spread", "specificity": "no_spread", "precision": "undefined",
    }  # fmt: skip
    assert states["precision"]["note"] == "no Treg by never"
    assert states["kappa"]["estimate"] == pytest.approx(0)
    donors = table[(table["stratum"] == "donor") & (table["measure"] == "agreement")]
    assert set(donors["status"]) == {"one_donor"}
    assert (table["note"].notna() == (table["status"] != "ok")).all()
    assert (table["estimate"].isna() == (table["status"] == "undefined")).all()
    assert table.loc[table["status"] == "ok", "donor_ci_low"].notna().all()


def test_one_annotator_gives_rates_only(made: tuple[Path, pd.DataFrame]) -> None:
    tables = run(made[0], "author")
    assert set(tables["agreement"]["measure"]) == {"rate"}
    assert tables["confusion"].empty
    assert list(tables["confusion"].columns) == ["annotator_a", "annotator_b", "cell_type_a", "cell_type_b", "n_cells"]


def test_the_order_of_cells_does_not_matter(made: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    folder, _ = made
    first = run(folder, "author", "third", within=("T",), scan=True)
    order = np.random.default_rng(1).permutation(1800)
    for path in [*folder.glob("*.parquet"), *folder.glob("*/labels.parquet")]:
        write_parquet(pd.read_parquet(path).iloc[order].reset_index(drop=True), path)
    for name, table in run(folder, "author", "third", within=("T",), scan=True).items():
        pd.testing.assert_frame_equal(table, first[name])


def test_labels_and_scans_of_other_cells_are_named(made: tuple[Path, pd.DataFrame]) -> None:
    folder, cells = made
    write_labels(folder / "short", cells["cell_id"][:-1], cells["gate"].to_numpy()[:-1])
    with pytest.raises(AidaError, match=r"short/labels\.parquet: its 1799 cells are not the 1800 cells of .*annotate"):
        run(folder, "author", "short")
    scan = pd.read_parquet(folder / "scan.parquet")
    write_parquet(scan.iloc[::-1], folder / "scan.parquet")
    with pytest.raises(AidaError, match=r"scan\.parquet: its 1800 cells are not .*aida-tools scan"):
        run(folder, "author", "gate", scan=True)
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"truth": "autor"}, r"--truth autor: .*author"),
        ({"focus": "Tregs"}, r"--focus Tregs: no annotator gives this type.*Treg"),
        ({"within": ("CD4",)}, r"--within CD4: .*author/sets\.tsv has no such denominator.*CD4_T"),
        ({"focus": "B", "within": ("T",)}, r"--within T: .* does not hold the focus type 'B'"),
    ],
)
def test_options_that_name_what_is_not_there_are_refused(
    made: tuple[Path, pd.DataFrame], options: dict[str, object], message: str
) -> None:
    with pytest.raises(AidaError, match=message):
        run(made[0], "author", "gate", **options)


@pytest.fixture
def scored(made: tuple[Path, pd.DataFrame]) -> tuple[Path, pd.DataFrame]:
    """As `made`, with an annotator `learnt` that scores its CD4 T cells, and `learnt-thinned`, which finds fewer."""
    folder, cells = made
    rng = np.random.default_rng(8)
    log_odds = np.round(rng.normal(-2, 1.5, len(cells)) + 3 * (cells["author"] == "Treg").to_numpy(), 1)
    types = np.where(log_odds > 0, "Treg", "CD4_other").astype(object)
    types[::11] = "B"
    log_odds[5::13] = np.nan
    numbers = {"probability": expit(np.abs(log_odds)), "margin_Treg": log_odds}
    write_labels(folder / "learnt", cells["cell_id"], types, **numbers)
    fewer = np.where((types == "Treg") & (rng.random(len(cells)) < 0.3), "CD4_other", types)
    unknown = numbers | {"probability": np.full(len(cells), np.nan)}
    write_labels(folder / "learnt-thinned", cells["cell_id"], fewer, **unknown)
    card = {
        "annotator": "learnt", "kind": "classifier", "words": "a trained classifier", "taught": True, "thinned": False,
        "description": "A classifier (m1: m1 et al.; m2: m2 et al.).",
        "classifiers": [{"name": n, "licence": "MIT", "attribution": f"{n} et al."} for n in ("m1", "m2")],
    }  # fmt: skip
    (folder / "learnt" / "annotator.json").write_text(json.dumps(card))
    return folder, cells.assign(learnt=types, thinned=fewer, log_odds=log_odds)


def test_average_precision_is_sklearns_where_the_annotator_may_call(scored: tuple[Path, pd.DataFrame]) -> None:
    folder, cells = scored
    tables = run(folder, "author", "learnt", "gate", within=("CD4_T",))
    truth = cells["author"].isin(["Treg", "CD4_other"])
    callable_ = cells["log_odds"].notna() & cells["learnt"].isin(SETS["CD4_T"])
    for stratum, level, here in (("all", "all", truth), ("site", "KR", truth & (cells["site"] == "KR"))):
        at = {"stratum": stratum, "level": level, "within": "CD4_T", "annotator_b": "learnt"}
        row = one(tables["agreement"], **at, measure="average_precision")
        ranked = cells[here & callable_]
        reached = (ranked["author"] == "Treg").sum() / (cells[here]["author"] == "Treg").sum()
        area = average_precision_score(ranked["author"] == "Treg", ranked["log_odds"])
        assert row["estimate"] == pytest.approx(area * reached)
        assert row["n_cells"] == here.sum()
        curve = tables["curves"].query("point == 'curve'")
        points = curve[(curve["level"] == level) & (curve["within"] == "CD4_T")]
        assert points["recall"].max() == pytest.approx(reached)
        assert len(points) <= 100
        middle = points.iloc[len(points) // 2]
        called = ranked["log_odds"] >= middle["threshold"]
        assert middle["n_called"] == called.sum()
        assert middle["precision"] == pytest.approx((ranked["author"] == "Treg")[called].mean())
        own = tables["curves"].query("point == 'labels'")
        own = one(own, level=level, within="CD4_T")
        assert np.isnan(own["threshold"])
        for measure, value in (("sensitivity", own["recall"]), ("precision", own["precision"])):
            assert one(tables["agreement"], **at, measure=measure)["estimate"] == pytest.approx(value)
    # The gate gives no scores.
    assert set(tables["curves"]["annotator_b"]) == {"learnt"}


def test_calibration_is_of_the_truths_cd4_t_cells(scored: tuple[Path, pd.DataFrame]) -> None:
    folder, cells = scored
    table = run(folder, "author", "learnt", "learnt-thinned", within=("T",))["calibration"]
    # The other annotator gives scores, but no probabilities.
    assert set(table["annotator_b"]) == {"learnt"}
    assert set(table["within"]) == {"CD4_T"}
    kept = cells[cells["author"].isin(["Treg", "CD4_other"]) & cells["log_odds"].notna()]
    kept = kept.assign(p=expit(kept["log_odds"]), y=kept["author"] == "Treg")
    here = kept[kept["site"] == "JP"]
    row = one(table, measure="expected_to_observed", stratum="site", level="JP")
    assert (row["estimate"], row["n_cells"]) == (pytest.approx(here["p"].sum() / here["y"].sum()), len(here))
    second = here[(here["p"] >= 0.1) & (here["p"] < 0.2)]
    bins = table[(table["measure"] == "observed_share") & (table["level"] == "JP")]
    row = bins[bins["bin"] == 2].iloc[0]
    assert (row["predicted"], row["estimate"]) == (pytest.approx(second["p"].mean()), pytest.approx(second["y"].mean()))
    assert set(table.loc[table["measure"] == "calibration_error", "status"]) == {"point"}
    assert table.loc[table["status"] == "ok", "donor_ci_low"].notna().all()


def test_soft_counts_are_held_against_all_cells_of_the_truth(scored: tuple[Path, pd.DataFrame]) -> None:
    folder, cells = scored
    samples = sorted(cells["sample_id"].unique())
    expected = pd.DataFrame({"sample_id": samples, "cell_type": "Treg", "n_expected": 10.5 + np.arange(len(samples))})
    other = expected.assign(cell_type="B", n_expected=99.0)
    write_tsv(pd.concat([expected, other]), folder / "learnt" / "expected.tsv")
    table = run(folder, "author", "learnt", "gate")["calibration"]
    soft = table[table["measure"] == "soft_to_observed"]
    assert set(soft["annotator_b"]) == {"learnt"}
    focus = cells["author"] == "Treg"
    assert one(soft, stratum="all")["estimate"] == pytest.approx(expected["n_expected"].sum() / focus.sum())
    here = cells["site"] == "JP"
    own = expected[expected["sample_id"].isin(cells.loc[here, "sample_id"])]
    row = one(soft, level="JP")
    assert row["estimate"] == pytest.approx(own["n_expected"].sum() / focus[here].sum())
    assert (row["n_cells"], row["n_donors"]) == (here.sum(), 3)
    assert np.isnan(row["ci_low"])
    assert row["donor_ci_low"] < row["estimate"] < row["donor_ci_high"]
    for wrong, message in (
        (expected.assign(sample_id="s99"), "sample 's99' is not one of these cells'"),
        (expected.assign(n_expected="many"), "value 'many' must be a number"),
    ):
        write_tsv(wrong, folder / "learnt" / "expected.tsv")
        with pytest.raises(AidaError, match=message):
            run(folder, "author", "learnt")


def test_thinned_labels_are_held_against_their_own(scored: tuple[Path, pd.DataFrame]) -> None:
    folder, cells = scored
    table = run(folder, "author", "learnt", "learnt-thinned", within=("CD4_T",))["thinned"]
    assert set(table["annotator"]) == {"learnt"}
    assert set(table["stratum"]) == {"all", "site", "batch", "between sites"}
    rates = {}
    for site in ("JP", "KR", "SG"):
        here = cells[(cells["site"] == site) & (cells["learnt"] != "B")]
        row = one(table, stratum="site", level=site, within="CD4_T")
        rates[site] = [(here[c] == "Treg").mean() for c in ("learnt", "thinned")]
        assert [row["rate"], row["rate_thinned"]] == pytest.approx(rates[site])
        assert row["difference"] == pytest.approx(rates[site][1] - rates[site][0])
        assert row["donor_ci_low"] < row["difference"] < row["donor_ci_high"]
    spread = one(table, stratum="between sites", within="CD4_T")
    full, matched = np.ptp(np.array(list(rates.values())), axis=0)
    assert [spread["rate"], spread["rate_thinned"]] == pytest.approx([full, matched])
    assert spread["status"] == "point"
    highest = max(rates, key=lambda site: rates[site][1])
    assert f"at matched depth {highest} is highest" in spread["note"]


def test_with_one_site_the_range_is_that_of_batches(scored: tuple[Path, pd.DataFrame]) -> None:
    folder, cells = scored
    write_parquet(pd.read_parquet(folder / "cells.parquet").assign(site="KR"), folder / "cells.parquet")
    table = run(folder, "author", "learnt", "learnt-thinned")["thinned"]
    spread = one(table, stratum="between batches")
    rates = (cells["learnt"] == "Treg").groupby(cells["batch"]).mean()
    assert spread["rate"] == pytest.approx(rates.max() - rates.min())
    assert "between sites" not in set(table["stratum"])


def test_annotators_are_described_as_far_as_they_say(scored: tuple[Path, pd.DataFrame]) -> None:
    table = run(scored[0], "gate", "author", "learnt", "learnt-thinned")["annotators"].set_index("annotator")
    assert list(table.index) == ["gate", "author", "learnt", "learnt-thinned"]
    assert list(table.loc["learnt"]) == [
        "classifier", "a trained classifier", True, False, "A classifier.", "m1; m2", "m1: MIT; m2: MIT",
        "m1: m1 et al.; m2: m2 et al.", False,
    ]  # fmt: skip
    assert table.loc["gate", ["kind", "words", "description", "classifiers"]].isna().all()
    assert list(table["thinned"]) == [False, False, False, True]


def test_without_scores_or_thinned_counts_the_tables_are_empty_but_there(made: tuple[Path, pd.DataFrame]) -> None:
    tables = run(made[0], "author", "gate")
    for name in ("curves", "calibration", "thinned"):
        assert tables[name].empty
        assert "annotator_b" in tables[name] or "annotator" in tables[name]


@pytest.mark.parametrize("text", ["[]", '{"classifiers": ["m1"]}', "{"])
def test_a_card_that_describes_nothing_is_named(scored: tuple[Path, pd.DataFrame], text: str) -> None:
    (scored[0] / "learnt" / "annotator.json").write_text(text)
    with pytest.raises(AidaError, match=r"learnt/annotator\.json: .* Run `aida-tools annotate` again"):
        run(scored[0], "author", "learnt")


def test_scores_that_are_no_numbers_are_named(scored: tuple[Path, pd.DataFrame]) -> None:
    folder, cells = scored
    words = {"probability": np.nan, "margin_Treg": "high"}
    write_labels(folder / "words", cells["cell_id"], cells["learnt"].to_numpy(), **words)
    with pytest.raises(AidaError, match=r"words/labels\.parquet: column 'margin_Treg' holds no numbers"):
        run(folder, "author", "words")


def test_the_command_is_the_runner(made: tuple[Path, pd.DataFrame]) -> None:
    folder, _ = made
    expected = run(folder, "author", "gate", within=("CD4_T",), scan=True)["agreement"]
    (folder / "cohort.yaml").write_text(
        "name: made\ntitle: Made\nsource: {kind: h5ad, path: a.h5ad}\ncolumns: {donor_id: d, population: p}\n"
        "labels: {unresolved: [CD4+_T, T]}\n"
    )
    words = [
        "agreement",
        "cells.parquet",
        "author",
        "gate",
        "--scan",
        "scan.parquet",
        "--cohort",
        "cohort.yaml",
        "--within",
        "CD4_T",
        "--out",
        "x",
    ]
    done = CliRunner().invoke(main, [str(folder / w) if (folder / w).exists() or w == "x" else w for w in words])
    assert done.exit_code == 0, done.output
    got = pd.read_csv(folder / "x" / "agreement.tsv", sep="\t", keep_default_na=False, na_values=[""])
    pd.testing.assert_frame_equal(got, expected)
    failed = CliRunner().invoke(
        main, ["agreement", str(folder), str(folder / "gate"), str(folder / "gate"), "--out", "y"]
    )
    assert failed.exit_code == 1
    assert "two folders of labels have the name 'gate'" in failed.output

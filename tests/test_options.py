"""One class of options a step: what its command, its block of the run file and its rule understand is the same."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any, Literal

import click
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field

from aida_tools import reference, rooms, runs
from aida_tools.agreement.step import Options as AgreementOptions
from aida_tools.annotate.step import TrainOptions
from aida_tools.atlas.step import Options as AtlasOptions
from aida_tools.cli import main
from aida_tools.compare.step import Options as CompareOptions
from aida_tools.core import steps
from aida_tools.core.errors import AidaError
from aida_tools.core.options import (
    SEED,
    arguments,
    command_options,
    default_words,
    fields,
    make,
    option,
    options,
    recorded,
)
from aida_tools.models.registry import MODELS
from aida_tools.sample.step import Options as SampleOptions


@options
class Every:
    """An option of every kind."""

    count: int = option(default=3, help="A number of things.", ge=0, le=10)
    share: float = option(default=0.5, help="A share.", gt=0, lt=1)
    free: float = option(default=0.0, help="Any number.")
    on: bool = option(default=True, help="Whether it is on.")
    off: bool = option(default=False, help="Whether it is off.")
    rule: Literal["one", "two"] = option(default="one", help="A rule.")
    name: str = option(default="x", help="A name.", flag="--called")
    where: str | None = option(default=None, help="A place.", metavar="PLACE")
    most: int | None = option(default=None, help="At most so many.", ge=1)
    file: Path = option(default=Path("a/b.txt"), help="A file.")
    names: tuple[str, ...] = option(default=(), help="Names.", flag="--a-name")
    sds: tuple[Annotated[float, Field(ge=0)], ...] = option(
        default=(0.0, 0.1), help="Spreads.", flag="--sd", min_length=1
    )
    seed: int = option(default=SEED, ge=0, help="A seed.")
    threads: int = option(default=1, help="Threads at work.", ge=1)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
PLANS = st.builds("donors={},cells={},batches=1".format, st.integers(1, 9), st.integers(1, 9))
#: Options whose values must mean something: name -> values.
MEANING = {"models": st.sampled_from(sorted(MODELS)), "plans": PLANS}


def values_of(name: str, annotation: Any, limits: list[Any]) -> st.SearchStrategy[Any]:
    """Return any values of an option."""
    ends = {key: getattr(m, key) for m in limits for key in ("ge", "gt", "le", "lt") if hasattr(m, key)}
    arguments_of = getattr(annotation, "__args__", ())
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        return st.integers(ends.get("ge"), ends.get("le"))
    if annotation is float:
        low, high = ends.get("ge", ends.get("gt")), ends.get("le", ends.get("lt"))
        bounds = {"exclude_min": "gt" in ends, "exclude_max": "lt" in ends}
        return st.floats(low, high, allow_nan=False, allow_infinity=False, **bounds)
    if annotation is str:
        return MEANING.get(name, TEXTS)
    if annotation is Path:
        return st.lists(st.sampled_from(["a", "b c", "-d"]), min_size=1).map(lambda parts: Path(*parts))
    if type(None) in arguments_of:
        return st.none() | values_of(name, arguments_of[0], limits)
    if getattr(annotation, "__metadata__", None):
        inner = [m for one in annotation.__metadata__ for m in getattr(one, "metadata", [one])]
        return values_of(name, annotation.__origin__, inner)
    if annotation.__origin__ is Literal:
        return st.sampled_from(arguments_of)
    shortest = max([getattr(m, "min_length", 0) for m in limits], default=0)
    return st.lists(values_of(name, arguments_of[0], []), min_size=shortest, max_size=3).map(tuple)


def any_options(kind: type) -> st.SearchStrategy[Any]:
    drawn = {name: values_of(name, field.annotation, list(field.metadata)) for name, field in fields(kind).items()}
    return st.builds(kind, **drawn)


def from_command_line(kind: type, words: list[str]) -> Any:
    """Return what a command with these options receives."""
    command = click.command()(command_options(kind)(lambda options: options))
    return command.main(words, standalone_mode=False)


CLASSES = (
    Every,
    SampleOptions,
    TrainOptions,
    AgreementOptions,
    AtlasOptions,
    CompareOptions,
    *(s.options for s in steps.STEPS.values()),
)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__module__.removeprefix("aida_tools."))
def test_any_options_survive_the_command_line(kind: type) -> None:
    """`arguments` writes them, the command reads them: the very same, whatever they are."""

    # The first draw imports the models.
    @settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
    @given(asked=any_options(kind))
    def there_and_back(asked: Any) -> None:
        assert from_command_line(kind, arguments(asked, omit=())) == asked

    there_and_back()
    assert arguments(kind()) == []
    assert from_command_line(kind, []) == kind()


def test_options_of_the_machine_are_no_part_of_a_run_or_its_record() -> None:
    asked = Every(threads=9, count=4)
    assert arguments(asked) == ["--count=4"]
    assert "threads" not in recorded(asked)
    assert recorded(asked)["count"] == 4


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"cuont": 3}, "here: unknown option 'cuont'. Did you mean 'count'?"),
        ({"count": 11}, "here: option 'count', value 11: Input should be less than or equal to 10."),
        ({"rule": "three"}, "here: option 'rule', value 'three': Input should be 'one' or 'two'."),
        ({"sds": [0.1, -1]}, "here: option 'sds', value -1: "),
        ({"sds": []}, "here: option 'sds', value []: "),
    ],
)
def test_wrong_values_are_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(AidaError) as caught:
        make(Every, values, "here")
    assert str(caught.value).startswith(words)


def test_lists_are_taken_for_tuples() -> None:
    assert make(Every, {"names": ["a"]}, "here").names == ("a",)


def test_a_wrong_meaning_is_told_by_its_flag() -> None:
    with pytest.raises(AidaError, match=r"^--model: there is no model 'clrr'\. Did you mean 'clr'\?$"):
        from_command_line(CompareOptions, ["--model", "clrr"])
    with pytest.raises(click.BadParameter, match="0<=x<=10"):
        from_command_line(Every, ["--count", "11"])


def test_the_help_tells_default_range_and_placeholder() -> None:
    command = click.command()(command_options(Every)(lambda options: None))
    text = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    for words in (
        "--count INTEGER RANGE A number of things. [default: 3; 0<=x<=10]",
        "--on / --no-on Whether it is on. [default: on]",
        "--off / --no-off Whether it is off. --rule",
        "--rule [one|two] A rule. [default: one]",
        "--called TEXT A name. [default: x]",
        "--where PLACE A place. --most",
        "--a-name TEXT Names. May be repeated. --sd",
        "Spreads. May be repeated. [default: 0.0, 0.1; x>=0]",
        "--free FLOAT Any number. [default: 0.0]",
    ):
        assert words in text, words
    assert default_words(fields(Every)["sds"]) == "0.0, 0.1"


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ((int, option(default=3, help="")), "no help"),
        ((tuple[str, ...], option(default=(), help="Names.")), "no flag"),
        ((tuple[str, ...], option(default=("a",), help="Names.", flag="--name")), "could be empty"),
        ((int | None, option(default=3, help="A number.")), "could be empty"),
    ],
)
def test_options_that_no_command_line_can_say_are_no_options(declared: tuple[Any, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        options(type("Wrong", (), {"__annotations__": {"one": declared[0]}, "one": declared[1]}))


@options
class ToyOptions:
    """What the toy plays."""

    melody: str = option(default="none", help="What is played.")
    loudness: int = option(default=3, help="How loud, in steps.", ge=0)
    score: Path = option(default=Path("score.txt"), help="A file to play from.")
    seed: int = option(default=SEED, ge=0, help="Seed of the toy.")


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """How often a step that is registered by a test alone was run, and on what."""
    played: list[Any] = []
    step = steps.Step(
        "toy", "Play something about COMPARE_DIR.", ToyOptions, lambda *a, **k: played.append((a, k)), files=("score",)
    )
    monkeypatch.setitem(steps.STEPS, "toy", step)
    return played


def test_a_registered_step_is_a_command_and_a_block(played: list[Any], tmp_path: Path) -> None:
    run = CliRunner().invoke
    assert "  toy " in run(main, ["--help"]).output
    assert "How loud, in steps. [default: 3; x>=0]" in " ".join(run(main, ["toy", "--help"]).output.split())
    result = run(main, ["toy", str(tmp_path), "--out", str(tmp_path / "out"), "--loudness", "9"])
    assert result.exit_code == 0, result.output
    assert played == [((tmp_path, tmp_path / "out"), {"options": ToyOptions(loudness=9)})]

    asked = runs.parse_run({"cohorts": ["a.yaml"], "seed": 7, "toy": {"melody": "fuga"}}, "run.yaml")
    assert asked.toy == ToyOptions(melody="fuga", seed=7)  # type: ignore[attr-defined]
    for wrong, words in (
        ({"toy": {"melodie": "x"}}, "unknown key 'toy.melodie'. Did you mean 'melody'?"),
        ({"toy": {"loudness": -1}}, "key 'toy.loudness', value -1"),
        ({"melody": "x"}, "unknown key 'melody'. It belongs to the block 'toy'."),
        ({"tooy": {}}, "unknown key 'tooy'. Did you mean 'toy'?"),
    ):
        with pytest.raises(AidaError) as caught:
            runs.parse_run({"cohorts": ["a.yaml"], **wrong}, "run.yaml")
        assert words in str(caught.value)
    assert '"melody"' in reference.schemas()["run.schema.json"]
    assert "| `loudness` | How loud, in steps. | `3` |" in reference.reference()


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package's sources."""
    return shutil.copytree(
        Path(rooms.__file__).parent,
        tmp_path_factory.mktemp("copy") / "aida_tools",
        ignore=shutil.ignore_patterns("__pycache__"),
    )


def codes(package: Path) -> dict[str, str]:
    """Module -> the digest of its code."""
    names = (
        "cohort.fetch", "compose.run", "compare.run", "robustness.step", "power.step", "claims.step", "figures.run",
        "report.run", "scan.run",
    )  # fmt: skip
    return {name: rooms.code(name, package=package) for name in names}


@pytest.fixture(scope="module")
def before(package: Path) -> dict[str, str]:
    return codes(package)


@pytest.mark.parametrize(
    ("changed", "affected"),
    [
        ("power/closed_form.py", {"power.step"}),
        ("robustness/permute.py", {"robustness.step"}),
        ("models/clr.py", {"compare.run", "robustness.step", "power.step", "claims.step"}),
        ("report/page.css", {"report.run"}),
        ("sample/genes.tsv", {"cohort.fetch"}),
        ("cli.py", set()),
    ],
)
def test_a_changed_source_changes_the_code_of_what_uses_it(
    package: Path, before: dict[str, str], changed: str, affected: set[str]
) -> None:
    path = package / changed
    kept = path.read_bytes()
    # A line more at the end changes no import, so what was read of these before holds.
    path.write_bytes(kept + b"\n")
    after = codes(package)
    path.write_bytes(kept)
    certain = {name for name in before if before[name] != after[name]}
    assert affected <= certain
    assert not certain & {"compose.run", "scan.run"}
    if changed.partition("/")[0] in ("power", "robustness"):
        assert "compare.run" not in certain
    assert codes(package) == before

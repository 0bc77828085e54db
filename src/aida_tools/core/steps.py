"""The steps that question a comparison: each is a command, a block of the run file and a part of the page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Step:
    """A step to the right of `compare`: it reads what `compare` wrote and nothing else.

    Attributes
    ----------
    name
        Of the command, of its folder of results and of its block in the run file.
    help
        The command's help: a sentence, and perhaps more below it.
    options
        Its class of options; see `aida_tools.core.options`.
    run
        Its runner, or where that is: `aida_tools.power.run:plan_power`. Called as `run(compare_dir, out, options=...)`.
    files
        Options of the run that name files the runner reads, so that a change of one makes the step anew.
    """

    name: str
    help: str
    options: type
    run: str | Callable[..., Any]
    files: tuple[str, ...] = ()

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Run it, importing its room only now."""
        run: Any = self.run
        if isinstance(run, str):
            module, _, name = run.partition(":")
            run = getattr(import_module(module), name)
        return run(*arguments, **options)


#: Name -> step, in the order of the page.
STEPS: dict[str, Step] = {}


def register(step: Step) -> Step:
    """Add a step: it is then a command, a block of the run file and a rule of the workflow."""
    STEPS[step.name] = step
    return step

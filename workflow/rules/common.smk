# Functions the rules share: what a step of this run needs.

MODELS = Path(RUN.model_folder)
TRAINED_MODELS = RESULTS / "models"


def model_folder(model):
    """Where a model of this run is: trained ones are results, the others are installed."""
    trained = {m for name in RUN.train for m in runs.models_of(RUN, name)}
    return TRAINED_MODELS if model in trained else MODELS


def scan_inputs(wildcards):
    """What a scan needs: expected counts and thinning need to know who is of which sample, and at which depth."""
    models = runs.models_of_scan(RUN, wildcards.scan)
    expected = runs.expected_of_scan(RUN, wildcards.scan)
    thinned = wildcards.scan == runs.SCAN_THINNED
    folder = RESULTS / wildcards.cohort
    return {
        "cohort": COHORT_FILES[wildcards.cohort],
        "fetched": folder / "fetch" / "source.json",
        "models": [model_folder(m) / m / "model.json" for m in models],
        "samples": (
            [folder / "cells" / "cells.parquet"] if thinned or expected else []
        ),
        "thin": [folder / runs.SCAN / "scan.parquet"] if thinned else [],
    }


def scan_options(wildcards, input):
    """The options that say what to compute in a scan."""
    options = [f"--model={Path(path).parent}" for path in input.models]
    options += [f"--expected={m}" for m in runs.expected_of_scan(RUN, wildcards.scan)]
    options += [f"--samples={path}" for path in input.samples]
    for path in input.thin:
        options += [f"--thin={path}", f"--thin-by={RUN.thin_by}", f"--seed={RUN.seed}"]
    return options


def annotate_inputs(wildcards):
    """What an annotator looks at: a scan, the counts themselves for proteins, or the cells only."""
    folder = RESULTS / wildcards.cohort
    scan = runs.scan_of(wildcards.annotator)
    protein = wildcards.annotator == runs.PROTEIN
    return {
        "cohort": COHORT_FILES[wildcards.cohort],
        "cells": folder / "cells" / "cells.parquet",
        "scan": [folder / scan / "scan.parquet"] if scan else [],
        "fetched": [folder / "fetch" / "source.json"] if protein else [],
    }


def annotate_options(wildcards):
    """Whose label map counts: that beside the model."""
    models = runs.models_of(RUN, wildcards.annotator)
    return [f"--models={model_folder(models[0])}"] if models else []

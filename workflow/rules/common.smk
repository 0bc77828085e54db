# Functions the rules share: what a step of this run needs.

CLASSIFIERS = Path(RUN.classifier_folder)
TRAINED = RESULTS / "classifiers"


def classifier_folder(name):
    """Where a classifier of this run is: trained ones are results, the others are installed."""
    trained = {one for name in RUN.train for one in ASKED.classifiers_of(name)}
    return TRAINED if name in trained else CLASSIFIERS


def scan_inputs(wildcards):
    """What a scan needs: expected counts and thinning need to know who is of which sample, and at which depth."""
    used = ASKED.classifiers_of_scan(wildcards.scan)
    expected = ASKED.expected_of_scan(wildcards.scan)
    thinned = wildcards.scan == SCAN_THINNED
    folder = RESULTS / wildcards.cohort
    return {
        "cohort": COHORT_FILES[wildcards.cohort],
        "fetched": folder / "fetch" / "source.json",
        "classifiers": [classifier_folder(c) / c / "classifier.json" for c in used],
        "samples": (
            [folder / "cells" / "cells.parquet"] if thinned or expected else []
        ),
        "thin": [folder / SCAN / "scan.parquet"] if thinned else [],
    }


def scan_options(wildcards, input):
    """The options that say what to compute in a scan."""
    options = [f"--classifier={Path(path).parent}" for path in input.classifiers]
    options += [f"--expected={c}" for c in ASKED.expected_of_scan(wildcards.scan)]
    options += [f"--samples={path}" for path in input.samples]
    for path in input.thin:
        options += [f"--thin={path}", f"--thin-by={RUN.thin_by}", f"--seed={RUN.seed}"]
    return options


def annotate_inputs(wildcards):
    """What an annotator looks at: a scan, the counts themselves for proteins, or the cells only."""
    folder = RESULTS / wildcards.cohort
    scan = scan_of(wildcards.annotator)
    fetched = "fetched" in ASKED.entry(wildcards.annotator).needs
    return {
        "cohort": COHORT_FILES[wildcards.cohort],
        "cells": folder / "cells" / "cells.parquet",
        "scan": [folder / scan / "scan.parquet"] if scan else [],
        "fetched": [folder / "fetch" / "source.json"] if fetched else [],
    }


def annotate_options(wildcards):
    """Whose label map counts: that beside the classifier."""
    used = ASKED.classifiers_of(wildcards.annotator)
    return [f"--classifiers={classifier_folder(used[0])}"] if used else []

# Where a cohort comes from, and its cells.


rule fetch_cohort:
    """Make, check, read over HTTP ranges or download the data of a cohort."""
    input:
        cohort=lambda wildcards: COHORT_FILES[wildcards.cohort],
    output:
        RESULTS / "{cohort}" / "fetch" / "source.json",
    log:
        RESULTS / "{cohort}" / "logs" / "fetch.log",
    conda:
        "../../environment.yml"
    params:
        out=subpath(output[0], parent=True),
        code=code("cohort.fetch"),
    shell:
        "aida-tools fetch {input.cohort:q} --out {params.out:q} 2>&1 | tee {log:q}"


rule make_cells:
    """One row a cell, with the canonical columns."""
    input:
        cohort=lambda wildcards: COHORT_FILES[wildcards.cohort],
        fetched=rules.fetch_cohort.output[0],
        populations=RUN.populations,
    output:
        RESULTS / "{cohort}" / "cells" / "cells.parquet",
    log:
        RESULTS / "{cohort}" / "logs" / "cells.log",
    conda:
        "../../environment.yml"
    params:
        fetched=subpath(input.fetched, parent=True),
        out=subpath(output[0], parent=True),
        code=code("cohort.cells"),
    shell:
        "aida-tools cells {input.cohort:q} {params.fetched:q} --populations {input.populations:q}"
        " --out {params.out:q} 2>&1 | tee {log:q}"

# From labelled cells to the counts and the estimates.


rule count_cells:
    """How many cells of each type in each sample: all that follows reads nothing else."""
    input:
        cells=rules.make_cells.output[0],
        labels=expand(
            rules.annotate_cells.output.labels,
            annotator=ASKED.labellers,
            allow_missing=True,
        ),
    output:
        samples=RESULTS / "{cohort}" / "counts" / "samples.tsv",
        counts=RESULTS / "{cohort}" / "counts" / "counts.tsv",
        denominators=RESULTS / "{cohort}" / "counts" / "denominators.tsv",
        uncounted=RESULTS / "{cohort}" / "counts" / "uncounted.tsv",
    log:
        RESULTS / "{cohort}" / "logs" / "counts.log",
    priority: 1
    conda:
        "../../environment.yml"
    params:
        labels=lambda wildcards, input: [
            str(Path(path).parent) for path in input.labels
        ],
        out=subpath(output.samples, parent=True),
        code=code("compose.run"),
    shell:
        "aida-tools counts {input.cells:q} {params.labels:q} --out {params.out:q} 2>&1 | tee {log:q}"


rule compare_populations:
    """Estimates, with what each of them is aliased with."""
    input:
        cohort=lambda wildcards: COHORT_FILES[wildcards.cohort],
        counts=rules.count_cells.output.counts,
        samples=rules.count_cells.output.samples,
        denominators=rules.count_cells.output.denominators,
    output:
        RESULTS / "{cohort}" / "compare" / "estimates.tsv",
        RESULTS / "{cohort}" / "compare" / "compare.json",
    log:
        RESULTS / "{cohort}" / "logs" / "compare.log",
    priority: 1
    conda:
        "../../environment.yml"
    params:
        out=subpath(output[0], parent=True),
        options=arguments(RUN.compare),
        code=code("compare.run"),
    shell:
        "aida-tools compare {input.counts:q} {input.samples:q} --denominators {input.denominators:q}"
        " --cohort {input.cohort:q} {params.options:q} --out {params.out:q} 2>&1 | tee {log:q}"

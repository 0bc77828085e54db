# A picture of the cells: a sketch of them, embedded.


rule sketch_atlas:
    """At most so many cells, rare types kept, as an h5ad file and as a table to draw."""
    input:
        cohort=lambda wildcards: COHORT_FILES[wildcards.cohort],
        fetched=rules.fetch_cohort.output[0],
        cells=rules.make_cells.output[0],
        labels=expand(
            rules.annotate_cells.output.labels,
            annotator=ASKED.labellers,
            allow_missing=True,
        ),
    output:
        RESULTS / "{cohort}" / "atlas" / "sketch.tsv",
        RESULTS / "{cohort}" / "atlas" / "atlas.h5ad",
    log:
        RESULTS / "{cohort}" / "logs" / "atlas.log",
    conda:
        "../../environment.yml"
    params:
        fetched=subpath(input.fetched, parent=True),
        labels=lambda wildcards, input: [
            str(Path(path).parent) for path in input.labels
        ],
        options=[] if RUN.atlas is None else arguments(RUN.atlas),
        out=subpath(output[0], parent=True),
        code=code("atlas.run"),
    shell:
        "aida-tools atlas {input.cohort:q} {params.fetched:q} {input.cells:q} {params.labels:q} {params.options:q}"
        " --threads {threads} --out {params.out:q} 2>&1 | tee {log:q}"

# Do the annotators agree, and how often are they wrong: by site, batch, donor and depth.


rule check_agreement:
    """The labels of all annotators beside each other. Depth needs the scan, which the authors' labels alone do not."""
    input:
        cohort=lambda wildcards: COHORT_FILES[wildcards.cohort],
        cells=rules.make_cells.output[0],
        labels=expand(
            rules.annotate_cells.output.labels,
            annotator=ASKED.labellers,
            allow_missing=True,
        ),
        scan=(
            expand(rules.scan_counts.output, scan=SCAN, allow_missing=True)
            if any(map(scan_of, RUN.annotators))
            else []
        ),
    output:
        RESULTS / "{cohort}" / "agreement" / "agreement.tsv",
    log:
        RESULTS / "{cohort}" / "logs" / "agreement.log",
    conda:
        "../../environment.yml"
    params:
        labels=lambda wildcards, input: [
            str(Path(path).parent) for path in input.labels
        ],
        scan=lambda wildcards, input: [f"--scan={input.scan}"] if input.scan else [],
        options=arguments(RUN.agreement),
        out=subpath(output[0], parent=True),
        code=code("agreement.run"),
    shell:
        "aida-tools agreement {input.cells:q} {params.labels:q} {params.scan:q} --cohort {input.cohort:q}"
        " {params.options:q} --out {params.out:q} 2>&1 | tee {log:q}"

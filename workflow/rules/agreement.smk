# Do the annotators agree, and how often are they wrong: by site, batch, donor and depth.


rule check_agreement:
    """The labels of all annotators beside each other. Depth needs the scan, which the authors' labels alone do not."""
    input:
        cells=rules.make_cells.output[0],
        labels=expand(
            rules.annotate_cells.output.labels,
            annotator=runs.labellers(RUN),
            allow_missing=True,
        ),
        scan=(
            expand(rules.scan_counts.output, scan=runs.SCAN, allow_missing=True)
            if any(map(runs.scan_of, RUN.annotators))
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
        within=[] if RUN.denominator == "all" else ["--within", RUN.denominator],
        out=subpath(output[0], parent=True),
        focus=RUN.focus,
        version=aida_tools.__version__,
    shell:
        "aida-tools agreement {input.cells:q} {params.labels:q} {params.scan:q} {params.within:q}"
        " --focus {params.focus:q} --out {params.out:q} 2>&1 | tee {log:q}"

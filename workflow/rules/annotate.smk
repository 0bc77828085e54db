# Who is a Treg: one pass over the counts, then every annotator on its own.


rule scan_counts:
    """One pass over the counts: quality, marker genes and model scores of every cell."""
    input:
        cohort=lambda wildcards: COHORT_FILES[wildcards.cohort],
        fetched=rules.fetch_cohort.output[0],
    output:
        RESULTS / "{cohort}" / "scan" / "scan.parquet",
    log:
        RESULTS / "{cohort}" / "logs" / "scan.log",
    conda:
        "../../environment.yml"
    threads: 2
    params:
        fetched=subpath(input.fetched, parent=True),
        out=subpath(output[0], parent=True),
        version=aida_tools.__version__,
    shell:
        "aida-tools scan {input.cohort:q} {params.fetched:q} --threads {threads} --out {params.out:q} 2>&1 | tee {log:q}"


rule annotate_cells:
    """The labels of one annotator. The authors' labels need no counts."""
    input:
        cohort=lambda wildcards: COHORT_FILES[wildcards.cohort],
        cells=rules.make_cells.output[0],
        scan=lambda wildcards: (
            [] if wildcards.annotator == "author" else rules.scan_counts.output[0]
        ),
    output:
        labels=RESULTS / "{cohort}" / "annotate" / "{annotator}" / "labels.parquet",
        sets=RESULTS / "{cohort}" / "annotate" / "{annotator}" / "sets.tsv",
    log:
        RESULTS / "{cohort}" / "logs" / "annotate-{annotator}.log",
    conda:
        "../../environment.yml"
    params:
        out=subpath(output.labels, parent=True),
        version=aida_tools.__version__,
    shell:
        "aida-tools annotate {input.cohort:q} {input.cells:q} {input.scan:q} --annotator {wildcards.annotator:q}"
        " --out {params.out:q} 2>&1 | tee {log:q}"

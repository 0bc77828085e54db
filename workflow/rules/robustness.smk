# Would the answer have been another one: sites, controls, single batches, permutations, labels, specifications.


rule check_robustness:
    """Reads what compare wrote, and nothing else."""
    input:
        compare=rules.compare_populations.output[0],
    output:
        RESULTS / "{cohort}" / "robustness" / "site_bound.tsv",
        RESULTS / "{cohort}" / "robustness" / "specification.tsv",
    log:
        RESULTS / "{cohort}" / "logs" / "robustness.log",
    priority: 1
    conda:
        "../../environment.yml"
    params:
        compare=subpath(input.compare, parent=True),
        out=subpath(output[0], parent=True),
        options=runs.robustness_options(RUN),
        version=aida_tools.__version__,
    shell:
        "aida-tools robustness {params.compare:q} {params.options:q} --out {params.out:q}"
        " 2>&1 | tee {log:q}"

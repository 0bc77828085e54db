# What was said in public, held against the estimates; and what this comparison, or a new one, can find.


rule check_claims:
    """A verdict for every claim, and all cell types ranked by their shifts."""
    input:
        compare=rules.compare_populations.output[0],
        claims=RUN.claims,
    output:
        RESULTS / "{cohort}" / "claims" / "claims.tsv",
        RESULTS / "{cohort}" / "claims" / "claim_contrasts.tsv",
        RESULTS / "{cohort}" / "claims" / "shifts.tsv",
    log:
        RESULTS / "{cohort}" / "logs" / "claims.log",
    conda:
        "../../environment.yml"
    params:
        compare=subpath(input.compare, parent=True),
        out=subpath(output[0], parent=True),
        version=aida_tools.__version__,
    shell:
        "aida-tools claims {params.compare:q} --claims {input.claims:q} --out {params.out:q} 2>&1 | tee {log:q}"


rule plan_power:
    """Minimal detectable odds ratios of every contrast and of plans for a new population."""
    input:
        compare=rules.compare_populations.output[0],
    output:
        RESULTS / "{cohort}" / "power" / "power.tsv",
        RESULTS / "{cohort}" / "power" / "plans.tsv",
        RESULTS / "{cohort}" / "power" / "power_curves.tsv",
    log:
        RESULTS / "{cohort}" / "logs" / "power.log",
    conda:
        "../../environment.yml"
    params:
        compare=subpath(input.compare, parent=True),
        out=subpath(output[0], parent=True),
        version=aida_tools.__version__,
    shell:
        "aida-tools power {params.compare:q} --out {params.out:q} 2>&1 | tee {log:q}"

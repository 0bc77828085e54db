# What a person sees: the figures and one page that works offline.

# Steps beside the comparison and after it; each adds its own figures and sections.
LATER_STEPS = [
    rules.check_agreement.output[0],
    *([rules.sketch_atlas.output[0]] if RUN.atlas else []),
    *(getattr(rules, f"step_{name}").output[0] for name in STEPS),
]


rule draw_figures:
    """Every figure as PDF, SVG and PNG, with the table it was drawn from."""
    input:
        compare=rules.compare_populations.output[0],
        later=LATER_STEPS,
        populations=RUN.populations,
    output:
        report(
            directory(RESULTS / "{cohort}" / "figures"),
            patterns=["{name}.svg"],
            caption="../report/figures.rst",
            category="{cohort}",
            labels={"figure": "{name}"},
        ),
    log:
        RESULTS / "{cohort}" / "logs" / "figures.log",
    conda:
        "../../environment.yml"
    threads: 2
    params:
        compare=subpath(input.compare, parent=True),
        also=lambda wildcards, input: [
            f"--also={Path(path).parent}" for path in input.later
        ],
        code=code("figures.run"),
    shell:
        "aida-tools figures {params.compare:q} {params.also:q} --populations {input.populations:q} --threads {threads}"
        " --out {output:q} 2>&1 | tee {log:q}"


rule write_report:
    """One page that works offline."""
    input:
        compare=rules.compare_populations.output[0],
        later=[rules.count_cells.output.uncounted, *LATER_STEPS],
        figures=rules.draw_figures.output[0],
    output:
        report(
            RESULTS / "{cohort}" / "report" / "report.html",
            caption="../report/report.rst",
            category="{cohort}",
            labels={"figure": "the whole report"},
        ),
    log:
        RESULTS / "{cohort}" / "logs" / "report.log",
    conda:
        "../../environment.yml"
    params:
        compare=subpath(input.compare, parent=True),
        also=lambda wildcards, input: [
            f"--also={Path(path).parent}" for path in input.later
        ],
        out=subpath(output[0], parent=True),
        code=code("report.run"),
    shell:
        "aida-tools report {params.compare:q} {input.figures:q} {params.also:q} --out {params.out:q} 2>&1 | tee {log:q}"

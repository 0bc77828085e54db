# The tutorials on the results of a run: `snakemake --cores 2 notebooks`. They need the packages of `make test`.

NOTEBOOKS = Path(workflow.basedir) / "notebooks"


rule execute_notebook:
    """A notebook run from top to bottom on one cohort's results."""
    input:
        notebook=NOTEBOOKS / "{notebook}.md",
        run=NOTEBOOKS / "execute.py",
        populations=RUN.populations,
        cells=rules.make_cells.output[0],
        labels=expand(
            rules.annotate_cells.output.labels,
            annotator=ASKED.labellers,
            allow_missing=True,
        ),
        counts=rules.count_cells.output,
        compare=rules.compare_populations.output,
        agreement=rules.check_agreement.output[0],
    output:
        RESULTS / "{cohort}" / "notebooks" / "{notebook}.ipynb",
    log:
        RESULTS / "{cohort}" / "logs" / "notebook-{notebook}.log",
    conda:
        "../../environment.yml"
    params:
        results=subpath(output[0], ancestor=2),
        code=code("api", "results.results", "figures.__init__"),
    shell:
        "AIDA_RESULTS=$(realpath {params.results:q}) python {input.run:q} {input.notebook:q} {output:q} 2>&1 | tee {log:q}"


rule notebooks:
    """All notebooks on all cohorts of the run."""
    input:
        expand(
            rules.execute_notebook.output,
            cohort=COHORT_FILES,
            notebook=sorted(path.stem for path in NOTEBOOKS.glob("[0-9]*.md")),
        ),

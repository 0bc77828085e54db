# Who is a Treg: models, a pass over the counts, then every annotator on its own.


rule add_model:
    """Bring a published model from its wheel; it is used offline from then on."""
    output:
        MODELS / "{model}" / "model.json",
    log:
        RESULTS / "logs" / "model-{model}.log",
    wildcard_constraints:
        model="|".join(runs.PUBLISHED),
    conda:
        "../../environment.yml"
    params:
        out=subpath(output[0], ancestor=2),
        version=aida_tools.__version__,
    shell:
        "aida-tools model add {wildcards.model:q} --out {params.out:q} 2>&1 | tee {log:q}"


for _name, _training in RUN.train.items():

    rule:
        name:
            f"train_{_name}"
        input:
            cohort=COHORT_FILES[_training.cohort],
            fetched=RESULTS / _training.cohort / "fetch" / "source.json",
            cells=RESULTS / _training.cohort / "cells" / "cells.parquet",
            labels=RESULTS
            / _training.cohort
            / "annotate"
            / _training.annotator
            / "labels.parquet",
        output:
            [
                TRAINED_MODELS / model / "model.json"
                for model in runs.models_of(RUN, _name)
            ],
        log:
            RESULTS / "logs" / f"train-{_name}.log",
        conda:
            "../../environment.yml"
        threads: 2
        params:
            fetched=subpath(input.fetched, parent=True),
            labels=subpath(input.labels, parent=True),
            out=TRAINED_MODELS,
            name=_name,
            options=runs.train_options(RUN, _name),
            version=aida_tools.__version__,
        shell:
            "aida-tools model train {input.cohort:q} {params.fetched:q} {input.cells:q} {params.labels:q}"
            " --name {params.name:q} {params.options:q} --out {params.out:q} 2>&1 | tee {log:q}"


if RUN.scan_parts == 1:

    rule scan_counts:
        """One pass over the counts: quality, marker genes and model scores of every cell."""
        input:
            unpack(scan_inputs),
        output:
            RESULTS / "{cohort}" / "{scan}" / "scan.parquet",
        log:
            RESULTS / "{cohort}" / "logs" / "{scan}.log",
        conda:
            "../../environment.yml"
        threads: 2
        params:
            fetched=subpath(input.fetched, parent=True),
            out=subpath(output[0], parent=True),
            options=scan_options,
            version=aida_tools.__version__,
        shell:
            "aida-tools scan {input.cohort:q} {params.fetched:q} {params.options:q} --threads {threads}"
            " --out {params.out:q} 2>&1 | tee {log:q}"

else:

    rule scan_part:
        """A part of the cells; all parts together are the same as one pass."""
        input:
            unpack(scan_inputs),
        output:
            temp(directory(RESULTS / "{cohort}" / "{scan}-parts" / "{part}")),
        log:
            RESULTS / "{cohort}" / "logs" / "{scan}-{part}.log",
        conda:
            "../../environment.yml"
        threads: 2
        params:
            fetched=subpath(input.fetched, parent=True),
            options=scan_options,
            parts=RUN.scan_parts,
            version=aida_tools.__version__,
        shell:
            "aida-tools scan {input.cohort:q} {params.fetched:q} {params.options:q} --threads {threads}"
            " --part {wildcards.part}/{params.parts} --out {output:q} 2>&1 | tee {log:q}"

    rule scan_counts:
        """The parts put together."""
        input:
            expand(
                rules.scan_part.output,
                part=range(1, RUN.scan_parts + 1),
                allow_missing=True,
            ),
        output:
            RESULTS / "{cohort}" / "{scan}" / "scan.parquet",
        log:
            RESULTS / "{cohort}" / "logs" / "{scan}.log",
        conda:
            "../../environment.yml"
        params:
            out=subpath(output[0], parent=True),
            version=aida_tools.__version__,
        shell:
            "aida-tools scan-gather {input:q} --out {params.out:q} 2>&1 | tee {log:q}"


rule annotate_cells:
    """The labels of one annotator. The authors' labels need no counts."""
    input:
        unpack(annotate_inputs),
    output:
        labels=RESULTS / "{cohort}" / "annotate" / "{annotator}" / "labels.parquet",
        sets=RESULTS / "{cohort}" / "annotate" / "{annotator}" / "sets.tsv",
    log:
        RESULTS / "{cohort}" / "logs" / "annotate-{annotator}.log",
    wildcard_constraints:
        annotator="|".join(
            re.escape(a) for a in runs.label_folders(RUN) if a != runs.CONSENSUS
        ),
    conda:
        "../../environment.yml"
    params:
        name=lambda wildcards: runs.base(wildcards.annotator),
        options=annotate_options,
        fetched=lambda wildcards, input: [
            f"--fetched={Path(path).parent}" for path in input.fetched
        ],
        out=subpath(output.labels, parent=True),
        version=aida_tools.__version__,
    shell:
        "aida-tools annotate {input.cohort:q} {input.cells:q} {input.scan:q} --annotator {params.name:q}"
        " {params.options:q} {params.fetched:q} --out {params.out:q} 2>&1 | tee {log:q}"


if runs.CONSENSUS in RUN.annotators:

    rule agree_on_cells:
        """What all other annotators of the run say, as one more."""
        input:
            expand(
                rules.annotate_cells.output.labels,
                annotator=runs.members(RUN),
                allow_missing=True,
            ),
        output:
            labels=RESULTS / "{cohort}" / "annotate" / runs.CONSENSUS / "labels.parquet",
            sets=RESULTS / "{cohort}" / "annotate" / runs.CONSENSUS / "sets.tsv",
        log:
            RESULTS / "{cohort}" / "logs" / f"annotate-{runs.CONSENSUS}.log",
        conda:
            "../../environment.yml"
        params:
            labels=lambda wildcards, input: [str(Path(path).parent) for path in input],
            out=subpath(output.labels, parent=True),
            version=aida_tools.__version__,
        shell:
            "aida-tools consensus {params.labels:q} --out {params.out:q} 2>&1 | tee {log:q}"


rule models:
    """The models this run trains, to be carried to other cohorts."""
    input:
        [
            TRAINED_MODELS / model / "model.json"
            for name in RUN.train
            for model in runs.models_of(RUN, name)
        ],

# Who is a Treg: classifiers, a pass over the counts, then every annotator on its own.


rule add_classifier:
    """Bring a published classifier from its wheel; it is used offline from then on."""
    output:
        CLASSIFIERS / "{classifier}" / "classifier.json",
    log:
        RESULTS / "logs" / "classifier-{classifier}.log",
    wildcard_constraints:
        classifier="|".join(PUBLISHED),
    conda:
        "../../environment.yml"
    params:
        out=subpath(output[0], ancestor=2),
        code=code("annotate.published"),
    shell:
        "aida-tools classifier add {wildcards.classifier:q} --out {params.out:q} 2>&1 | tee {log:q}"


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
                TRAINED / classifier / "classifier.json"
                for classifier in ASKED.classifiers_of(_name)
            ],
        log:
            RESULTS / "logs" / f"train-{_name}.log",
        conda:
            "../../environment.yml"
        threads: 2
        params:
            fetched=subpath(input.fetched, parent=True),
            labels=subpath(input.labels, parent=True),
            out=TRAINED,
            name=_name,
            options=arguments(_training, omit=("cohort", "annotator")),
            code=code("annotate.train"),
        shell:
            "aida-tools classifier train {input.cohort:q} {params.fetched:q} {input.cells:q} {params.labels:q}"
            " --name {params.name:q} {params.options:q} --out {params.out:q} 2>&1 | tee {log:q}"


if RUN.scan_parts == 1:

    rule scan_counts:
        """One pass over the counts: quality, marker genes and scores of classifiers in every cell."""
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
            code=code("scan.run"),
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
            code=code("scan.run"),
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
            code=code("scan.gather"),
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
        annotator="|".join(re.escape(a) for a in ASKED.label_folders if a != CONSENSUS),
    conda:
        "../../environment.yml"
    params:
        name=lambda wildcards: base(wildcards.annotator),
        options=annotate_options,
        fetched=lambda wildcards, input: [
            f"--fetched={Path(path).parent}" for path in input.fetched
        ],
        out=subpath(output.labels, parent=True),
        code=code("annotate.run"),
    shell:
        "aida-tools annotate {input.cohort:q} {input.cells:q} {input.scan:q} --annotator {params.name:q}"
        " {params.options:q} {params.fetched:q} --out {params.out:q} 2>&1 | tee {log:q}"


if CONSENSUS in RUN.annotators:

    rule agree_on_cells:
        """What all other annotators of the run say, as one more."""
        input:
            expand(
                rules.annotate_cells.output.labels,
                annotator=ASKED.members,
                allow_missing=True,
            ),
        output:
            labels=RESULTS / "{cohort}" / "annotate" / CONSENSUS / "labels.parquet",
            sets=RESULTS / "{cohort}" / "annotate" / CONSENSUS / "sets.tsv",
        log:
            RESULTS / "{cohort}" / "logs" / f"annotate-{CONSENSUS}.log",
        conda:
            "../../environment.yml"
        params:
            labels=lambda wildcards, input: [str(Path(path).parent) for path in input],
            out=subpath(output.labels, parent=True),
            code=code("annotate.run"),
        shell:
            "aida-tools consensus {params.labels:q} --out {params.out:q} 2>&1 | tee {log:q}"


rule classifiers:
    """The classifiers this run trains, to be carried to other cohorts."""
    input:
        [
            TRAINED / classifier / "classifier.json"
            for name in RUN.train
            for classifier in ASKED.classifiers_of(name)
        ],

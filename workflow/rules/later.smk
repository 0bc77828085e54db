# The steps that question or weigh what compare found: one rule for each that is registered.

for _step in STEPS.values():
    _options = getattr(RUN, _step.name)

    rule:
        name:
            f"step_{_step.name}"
        input:
            compare=rules.compare_populations.output[0],
            files=[getattr(_options, name) for name in _step.files],
        output:
            RESULTS / "{cohort}" / _step.name / "provenance.json",
        log:
            RESULTS / "{cohort}" / "logs" / f"{_step.name}.log",
        priority: 1
        conda:
            "../../environment.yml"
        params:
            name=_step.name,
            compare=subpath(input.compare, parent=True),
            options=arguments(_options),
            out=subpath(output[0], parent=True),
            code=code(_step.options.__module__.removeprefix("aida_tools.")),
        shell:
            "aida-tools {params.name:q} {params.compare:q} {params.options:q} --out {params.out:q} 2>&1 | tee {log:q}"

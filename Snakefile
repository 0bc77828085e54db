# The Treg comparison: cohort -> cells -> scan -> annotate -> counts -> compare -> figures -> report.
#
#     snakemake --cores 2                                     the embedded SYNTHETIC cohort
#     snakemake --cores 2 --configfile config/aida.yaml       AIDA itself
#
# All computation is in the package: every rule is one call of `aida-tools`.
import re
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

import aida_tools
from aida_tools import config as settings
from aida_tools import runs
from aida_tools.errors import AidaError

# Strict shell, and the command line of the environment that runs Snakemake, also when that is not activated.
shell.prefix(f'set -euo pipefail; export PATH="{Path(sys.executable).parent}:$PATH"; ')

# A run file given on the command line replaces the default one; merging the two would mix their keys.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


try:
    RUN_FILE = workflow.configfiles[0] if workflow.configfiles else "--config"
    RUN = settings.parse(dict(config), settings.RunConfig, RUN_FILE)
    _cohorts = {path: settings.load_cohort(Path(path)) for path in RUN.cohorts}
    RUN = runs.settle(RUN, _cohorts, RUN_FILE)
except AidaError as error:
    raise WorkflowError(str(error)) from None


report: "workflow/report/workflow.rst"


RESULTS = Path(RUN.results)
COHORT_FILES = {cohort.name: path for path, cohort in _cohorts.items()}


wildcard_constraints:
    cohort="|".join(COHORT_FILES),
    annotator="|".join(map(re.escape, runs.label_folders(RUN))),
    scan=f"{runs.SCAN}|{runs.SCAN_THINNED}",


include: "workflow/rules/common.smk"
include: "workflow/rules/cohort.smk"
include: "workflow/rules/annotate.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/agreement.smk"
include: "workflow/rules/atlas.smk"
include: "workflow/rules/robustness.smk"
include: "workflow/rules/claims.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/notebooks.smk"


rule all:
    default_target: True
    input:
        expand(RESULTS / "{cohort}" / "report" / "report.html", cohort=COHORT_FILES),


onsuccess:
    for name in COHORT_FILES:
        page = RESULTS / name / "report" / "report.html"
        if page.exists():
            print(f"Report of {name}: {page}")


onerror:
    # What a step said is far up by now: say it again, last.
    for path in [
        p
        for name in COHORT_FILES
        for p in sorted((RESULTS / name / "logs").glob("*.log"))
    ]:
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("aida-tools: "):
                print(f"\n{path.stem}: {line.removeprefix('aida-tools: ')}")

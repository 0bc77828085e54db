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

from aida_tools import runs
from aida_tools.annotate.asked import SCAN, SCAN_THINNED, scan_of
from aida_tools.annotate.registry import PUBLISHED, base
from aida_tools.core.cohort_file import load_cohort
from aida_tools.core.errors import AidaError
from aida_tools.core.names import CONSENSUS
from aida_tools.core.options import arguments
from aida_tools.core.steps import STEPS
from aida_tools.rooms import code

# Strict shell, and the command line of the environment that runs Snakemake, also when that is not activated.
shell.prefix(f'set -euo pipefail; export PATH="{Path(sys.executable).parent}:$PATH"; ')

# A run file given on the command line replaces the default one; merging the two would mix their keys.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


try:
    RUN_FILE = workflow.configfiles[0] if workflow.configfiles else "--config"
    RUN = runs.parse_run(dict(config), RUN_FILE)
    _cohorts = {path: load_cohort(Path(path)) for path in RUN.cohorts}
    RUN = runs.settle(RUN, _cohorts, RUN_FILE)
    ASKED = runs.asked(RUN)
except AidaError as error:
    raise WorkflowError(str(error)) from None


report: "workflow/report/workflow.rst"


RESULTS = Path(RUN.results)
COHORT_FILES = {cohort.name: path for path, cohort in _cohorts.items()}


wildcard_constraints:
    cohort="|".join(COHORT_FILES),
    annotator="|".join(map(re.escape, ASKED.label_folders)),
    scan=f"{SCAN}|{SCAN_THINNED}",


include: "workflow/rules/common.smk"
include: "workflow/rules/cohort.smk"
include: "workflow/rules/annotate.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/agreement.smk"
include: "workflow/rules/atlas.smk"
include: "workflow/rules/later.smk"
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

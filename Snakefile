# Frugal ViT: how little Vision Transformer is enough for your images?
#   snakemake --cores 4 --resources gpu=1
#   snakemake --cores 4 --resources gpu=1 --configfile config/studies/flowers102.yaml
import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.20")

sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))

from frugalvit.config.lines import located
from frugalvit.config.reading import read_yaml, retype
from frugalvit.jobs.digest import script_digest as digest
from frugalvit.errors import FrugalError
from frugalvit.jobs.messages import Failures, what_takes_long
from frugalvit.jobs.run import prepare_jobs
from frugalvit.config.schema import merge
from frugalvit.config.results_alone import holds_results_only
from frugalvit.config.study import load_study

# Paths of a configuration start here, and so do data and results.
if not Path.cwd().samefile(workflow.basedir):
    sys.exit(
        f"error: call Snakemake in {workflow.basedir}, or with --directory '{workflow.basedir}'"
    )

prepare_jobs()
FAILURES = Failures()
if not workflow.remote_exec:  # a cluster job's own Snakemake says all it has to its log
    FAILURES.watch()


CONFIG_FILES = workflow.overwrite_configfiles or ["config/config.yaml"]
try:
    # Before Snakemake does, where it has not yet, and strictly: in YAML a key that stands twice
    # overwrites itself.
    for path in CONFIG_FILES:
        read_yaml(path)
except FrugalError as error:
    sys.exit(f"error in the configuration: {error}")

# Snakemake merges config files; a study given with --configfile must not inherit the embedded one.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


try:
    overrides = retype(dict(workflow.config_settings.config))
    STUDY = load_study(merge(config, overrides))
except FrugalError as error:
    where = located(error, CONFIG_FILES, workflow.config_settings.config)
    sys.exit(f"error in the configuration: {where}")

if workflow.is_main_process:
    for line in STUDY.small_views("warn"):
        told = located(FrugalError(line), CONFIG_FILES, workflow.config_settings.config)
        print(f"warning: {told}", file=sys.stderr)

COMPUTE = STUDY.config["compute"]
# A clone that holds results but neither images nor weights can redraw its figures. Without the
# rules behind them, no file's date can make Snakemake train anew what is only to be drawn.
RESULTS_ALONE = holds_results_only(STUDY, Path.cwd())
FULL_ENV = "../../envs/frugalvit.yaml"
PLOT_ENV = "../../envs/plot.yaml"


pathvars:
    results=f"results/{STUDY.name}",
    logs=f"logs/{STUDY.name}",


report: "workflow/report/workflow.rst"


onstart:
    jobs = [job.rule for job in workflow.dag.needrun_jobs() if not job.is_norun]
    print(what_takes_long([rule.name for rule in jobs], workflow._localrules), file=sys.stderr)


onerror:
    print(FAILURES.summary(), file=sys.stderr)


# A GPU limits what runs at once on this machine; a cluster's jobs are its scheduler's to arrange.
resource_scopes:
    gpu="local",


wildcard_constraints:
    splits="|".join(STUDY.split_sets),
    views="|".join(STUDY.view_sets),
    experiment="|".join(STUDY.experiments),
    run="|".join(STUDY.runs),


include: "workflow/rules/shown.smk"
include: "workflow/rules/figures.smk"


rule all:
    default_target: True
    input:
        rules.figures.input,
        [] if RESULTS_ALONE else "<results>/base/experiment_checks.json",


if RESULTS_ALONE:
    print(
        f"results/{STUDY.name} holds results without images or weights: only figures are drawn; "
        "remove it to compute everything anew",
        file=sys.stderr,
    )
else:

    include: "workflow/rules/common.smk"
    include: "workflow/rules/data.smk"
    include: "workflow/rules/base.smk"
    include: "workflow/rules/train.smk"
    include: "workflow/rules/evaluated.smk"
    include: "workflow/rules/evaluate.smk"
    include: "workflow/rules/answer.smk"
    include: "workflow/rules/measure.smk"

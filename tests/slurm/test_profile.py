"""The cluster profile as Snakemake reads it: no cluster is needed."""

import re

import pytest
import yaml

from frugalvit.config.study import load_study
from frugalvit.figures.shown import jobs
from tests.workflows import ROOT, STUDY, copy_tiny, run

pytestmark = pytest.mark.workflow
PROFILE = ("--workflow-profile", "workflow/profiles/slurm", "--configfile", STUDY, "--dry-run")
# Rules that a cluster's nodes run. Whatever else there is runs on the submitting machine: what may
# need the network, and what takes seconds.
ON_NODES = {
    "prepare_dataset", "extract_features", "train_run", "probe_blocks", "measure_cost",
    "evaluate_fine_tune_s0", "evaluate_fine_tune_s1", "evaluate_early_exit_s0",
    "evaluate_early_exit_s1", "evaluate_avit_s0", "evaluate_avit_s1", "evaluate_token_merging_s0",
    "evaluate_token_merging_s1", "evaluate_token_pruning_s0", "evaluate_localize_s0",
}  # fmt: skip
# What the comments of the profile say of GPUs; pretraining only where a study has it.
WITH_GPU = ON_NODES - {"prepare_dataset", "probe_blocks"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return copy_tiny(tmp_path_factory.mktemp("profile"))


@pytest.fixture(scope="module")
def plan(folder):
    return planned_jobs(run(folder, *PROFILE))


def planned_jobs(words: str) -> dict[str, dict[str, str]]:
    """Rule -> resources of its first job."""
    found = {}
    for block in re.split(r"(?m)^\[.*\]$", words):
        name = re.search(r"(?m)^(?:local)?rule (\w+):$", block)
        listed = re.search(r"(?m)^ +resources: (.*)$", block)
        if name and listed:
            pairs = [pair.partition("=") for pair in listed[1].split(", ")]
            found.setdefault(name[1], {key: value for key, _, value in pairs})
    return found


def local_rules(study: dict) -> set[str]:
    folder = ROOT / "workflow" / "rules"
    words = "".join(path.read_text() for path in folder.glob("*.smk"))
    blocks = re.findall(r"(?m)^( *)localrules:\n((?:\1    \w+,\n)+)", words)
    named = {name for _, block in blocks for name in re.findall(r"\w+", block)}
    # Rules of figures are made in a loop, in which each is local.
    assert "localrule: True" in (folder / "figures.smk").read_text()
    return named | {job.name for job in jobs(load_study(study))}


def test_nodes_need_no_network_and_no_short_rule_is_submitted(folder, plan):
    local = local_rules(yaml.safe_load((folder / STUDY).read_text()))
    assert {"download_dataset", "export_base"} <= local, "they may download"
    assert set(plan) - local - {"all"} == ON_NODES
    assert not local & ON_NODES


def test_gpus_are_asked_by_the_rules_that_the_profile_names(plan):
    assert {rule for rule, job in plan.items() if "gpu" in job} == WITH_GPU
    named = (ROOT / "workflow/profiles/slurm/config.yaml").read_text()
    named = named[named.index("These rules ask for a GPU") : named.index("set-resources:")]
    for rule in WITH_GPU:
        kind = re.sub(r"(?<=^evaluate_).*", "", rule)
        assert re.search(rf"\b{kind}", named), rule


def test_training_alone_asks_for_several_gpus(folder):
    found = planned_jobs(run(folder, *PROFILE, "--config", "compute={gpu: 4, cpu_processes: 2}"))
    train = found["train_run"]
    assert (train["gpu"], train["gpu_asked"], train["cpu_processes"]) == ("4", "4", "2")
    others = {rule: job["gpu"] for rule, job in found.items() if "gpu" in job}
    assert others == {rule: "4" if rule == "train_run" else "1" for rule in WITH_GPU}
    none = planned_jobs(run(folder, *PROFILE, "--config", "compute={gpu: 0}"))
    assert {job["gpu"] for job in none.values() if "gpu" in job} == {"0"}


def test_every_setting_that_is_commented_out_is_one(tmp_path):
    folder = copy_tiny(tmp_path)
    profile = folder / "workflow/profiles/slurm/config.yaml"
    words, count = re.subn(r"(?m)^( *)#(?=\S)", r"\1", profile.read_text())
    assert count > 10
    profile.write_text(words)
    found = planned_jobs(run(folder, *PROFILE))
    train = found["train_run"]
    assert (train["slurm_partition"], train["gpu_model"]) == ("gpu", "a100")
    assert train["slurm_account"] == "my_project"
    prepare = found["prepare_dataset"]
    assert (prepare["slurm_partition"], prepare["mem_mb"]) == ("main", "16000")
    measured = found["measure_cost"]
    assert (measured["slurm_partition"], measured["gpu_model"]) == ("gpu", "a100")
    assert measured["slurm_extra"] == "--exclusive"


def test_rules_that_the_profile_names_exist(plan):
    words = (ROOT / "workflow/profiles/slurm/config.yaml").read_text()
    section = words[words.index("set-resources:") : words.index("local-cores:")]
    named = set(re.findall(r"(?m)^  #?(\w+): [*&{]", section))
    assert len(named) >= 6
    # The tiny study evaluates the runs of one seed together, the profile's reader perhaps does not.
    rules = {re.sub(r"_s[0-9]+$", "", rule) for rule in plan}
    assert named <= {*rules, "pretrain_base"}


def test_a_measurement_wants_in_its_job_what_it_asked_for(folder):
    alone = run(folder, "--configfile", STUDY, "--dry-run", "--cores", "7")
    assert "threads: 7" in alone, "on one machine a measurement has every core"
    within = run(folder, "--configfile", STUDY, "--dry-run", "--cores", "7", "--mode", "remote")
    assert "rule measure_cost" in within
    assert "threads: 7" not in within

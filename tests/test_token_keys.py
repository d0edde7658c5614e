"""Keys of adaptive tokens: each mistake is one line, and what only evaluation reads trains nothing."""

import copy
import re

import pytest

from frugalvit.config.study import load_study
from frugalvit.errors import ConfigError
from tests.workflows import ROOT

HEAD, ALL = {"train": "head", "epochs": 1}, {"train": "all", "epochs": 1}
PLAIN = {"method": "fine_tune", "schedule": [HEAD]}
AVIT = {"method": "avit", "schedule": [HEAD, ALL]}
MERGING = {"method": "token_merging", "from": "plain", "r": [2, 1]}
PRUNING = {"method": "token_pruning", "from": "plain", "keep_tokens": [0.7]}


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("FRUGALVIT_MIRROR", raising=False)


@pytest.fixture
def config():
    """A study of one plain experiment; tests add theirs."""
    return {
        "study": "small",
        "seeds": [0, 1],
        "dataset": {"source": "digits"},
        "base": {
            "source": "random",
            "image_size": 24,
            "architecture": {
                "patch_size": 4, "num_layers": 6, "num_heads": 4, "hidden_dim": 64, "mlp_dim": 128,
            },
        },
        "splits": {"calibration": {"from": "valid", "fraction": 0.5}},
        "split_variants": {"swapped": {"swap_train_test": True}},
        "experiments": {"plain": copy.deepcopy(PLAIN)},
    }  # fmt: skip


def load(config, **experiments):
    """The study with these experiments besides the plain one."""
    config = copy.deepcopy(config)
    config["experiments"] |= copy.deepcopy(experiments)
    return load_study(config)


def without(entry, key):
    return {name: value for name, value in entry.items() if name != key}


EARLY = {"method": "early_exit", "schedule": [{"train": "heads", "epochs": 1}]}
SWAPPED = PLAIN | {"splits": "swapped"}
# Name -> experiments, and what the message says.
MISTAKES = {
    "halting of a plain model": (
        {"mine": PLAIN | {"halting": {"eps": 0.1}}}, "mine.halting: only method avit has this"
    ),
    "baseline of a plain model": (
        {"mine": PLAIN | {"baseline": "plain"}}, "mine.baseline: only method avit has this"
    ),
    "distillation of a plain model": (
        {"mine": PLAIN | {"distillation": {"weight": 0.5}}}, "mine.distillation: only method"
    ),
    "merging of a plain model": (
        {"mine": PLAIN | {"r": [1]}}, "mine.r: only method token_merging has this"
    ),
    "halting of early exits": (
        {"mine": EARLY | {"halting": {"eps": 0.1}}}, "mine.halting: only method avit has this"
    ),
    "exits of halting": (
        {"mine": AVIT | {"exits": "all"}}, "mine.exits: only method early_exit has this"
    ),
    "halting without a schedule": (
        {"mine": without(AVIT, "schedule")}, "mine.schedule: missing; avit trains"
    ),
    "a plain model without a schedule": (
        {"mine": without(PLAIN, "schedule")}, "mine.schedule: missing; fine_tune trains"
    ),
    "a search of halting": (
        {"mine": AVIT | {"grid": {"parameters": {"lr": [0.1]}}}}, "mine.grid: is for method fine_tune"
    ),
    "a search of halting from another": (
        {"mine": AVIT | {"from": "plain", "grid": {"parameters": {"lr": [0.1]}}}}, "mine.grid: a search"
    ),
    "fewer blocks of halting": (
        {"mine": AVIT | {"keep_blocks": 2}}, "mine.keep_blocks: is for method fine_tune"
    ),
    "only head phases": (
        {"mine": AVIT | {"schedule": [HEAD, HEAD]}}, "mine.schedule: only the head trains"
    ),
    "a late head phase": (
        {"mine": AVIT | {"schedule": [HEAD, ALL, HEAD]}}, "mine.schedule[2].train: a head phase"
    ),
    "exits in the schedule": (
        {"mine": AVIT | {"schedule": [{"train": "heads", "epochs": 1}, ALL]}},
        "mine.schedule[0].train: 'heads' is for method early_exit",
    ),
    "more blocks trained than there are": (
        {"mine": AVIT | {"schedule": [{"train": {"blocks": 7}, "epochs": 1}]}},
        "mine.schedule[0].train: 'blocks: 7' but the base has 6 blocks",
    ),
    "expected beyond the depth": (
        {"mine": AVIT | {"halting": {"expected_depth": 6.5}}},
        "mine.halting.expected_depth: 6.5, but the model has 6 blocks",
    ),
    "expected beyond a source's depth": (
        {"cut": PLAIN | {"keep_blocks": 3},
         "mine": AVIT | {"from": "cut", "halting": {"expected_depth": 4}}},
        "mine.halting.expected_depth: 4, but the model has 3 blocks",
    ),
    "eps stands twice": (
        {"mine": AVIT | {"halting": {"eps": 0.1, "inference_eps": [0.3, 0.1]}}},
        "mine.halting.inference_eps: 0.1 is eps itself",
    ),
    "unknown preset": (
        {"mine": AVIT | {"halting": {"preset": "mine"}}}, "mine.halting.preset: 'mine' is unknown"
    ),
    "unknown key of halting": (
        {"mine": AVIT | {"halting": {"epsilon": 0.1}}}, "mine.halting.epsilon: unknown key"
    ),
    "nobody to learn from": (
        {"mine": AVIT | {"distillation": {"weight": 0.5}}},
        "mine.distillation: learns from the baseline's answers; add baseline or from",
    ),
    "nobody to learn from at the base": (
        {"mine": AVIT | {"from": "base", "distillation": {"weight": 0.5}}},
        "mine.distillation: learns from the baseline's answers",
    ),
    "no such baseline": (
        {"mine": AVIT | {"baseline": "molten"}}, "mine.baseline: no experiment 'molten'"
    ),
    "the base as a baseline": (
        {"mine": AVIT | {"baseline": "base"}}, "mine.baseline: no experiment 'base'"
    ),
    "its own baseline": ({"mine": AVIT | {"baseline": "mine"}}, "mine.baseline: leads back to itself"),
    "baseline of another method": (
        {"early": EARLY, "mine": AVIT | {"baseline": "early"}},
        "mine.baseline: 'early' is of method early_exit; name a fine_tune experiment",
    ),
    "baseline on other splits": (
        {"swapped": SWAPPED, "mine": AVIT | {"baseline": "swapped"}},
        "mine.splits: 'swapped' was trained on other splits",
    ),
    "baseline without the seed": (
        {"mine": AVIT | {"baseline": "plain", "seeds": [0, 7]}},
        "mine.seeds: 'plain' has no run with seed 7",
    ),
    "halting from halting": (
        {"other": AVIT, "mine": AVIT | {"from": "other"}}, "mine.from: 'other' is of method avit"
    ),
    "merging from nothing": (
        {"mine": without(MERGING, "from")}, "mine.from: missing; token_merging works on the runs"
    ),
    "merging the base": (
        {"mine": MERGING | {"from": "base"}}, "mine.from: missing; token_merging works on the runs"
    ),
    "merging halting tokens": (
        {"other": AVIT, "mine": MERGING | {"from": "other"}}, "mine.from: 'other' is of method avit"
    ),
    "merging without r": (
        {"mine": without(MERGING, "r")}, "mine.r: missing; token_merging needs it, e.g. [0.4]"
    ),
    "merging that trains": (
        {"mine": MERGING | {"lr": 0.1}}, "mine.lr: token_merging trains nothing; remove it"
    ),
    "merging with a schedule": (
        {"mine": MERGING | {"schedule": [ALL]}}, "mine.schedule: token_merging trains nothing"
    ),
    "merging with epochs": (
        {"mine": MERGING | {"epochs": 3}}, "mine.epochs: token_merging trains nothing"
    ),
    "merging what pruning keeps": (
        {"mine": MERGING | {"keep_tokens": [0.5]}}, "mine.keep_tokens: only method token_pruning"
    ),
    "merging without the seed": (
        {"mine": MERGING | {"seeds": [3]}}, "mine.seeds: 'plain' has no run with seed 3"
    ),
    "merging on other splits": (
        {"mine": MERGING | {"splits": "swapped"}}, "mine.splits: 'plain' was trained on other splits"
    ),
    "no token merged": ({"mine": MERGING | {"r": [0]}}, "mine.r[0]: 0 is too small"),
    "neither share nor number": (
        {"mine": MERGING | {"r": [0.4, 2.5]}}, "mine.r[1]: 2.5 is neither a share below 1 nor"
    ),
    "r twice": ({"mine": MERGING | {"r": [2, 2]}}, "mine.r: [2, 2] names an entry twice"),
    "pruning without a share": (
        {"mine": without(PRUNING, "keep_tokens")}, "mine.keep_tokens: missing; token_pruning needs it"
    ),
    "pruning beyond the depth": (
        {"mine": PRUNING | {"prune_blocks": [2, 7]}},
        "mine.prune_blocks: 7, but the model has 6 blocks; use 1 to 6",
    ),
    "pruning with a grid": (
        {"mine": PRUNING | {"grid": {"parameters": {"lr": [0.1]}}}}, "mine.grid: "
    ),
    "an experiment called base": (
        {"base": PLAIN, "mine": AVIT | {"from": "base"}}, "experiments.base: the name of the pretrained"
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_a_mistake_is_one_line_with_key_and_remedy(config, mistake):
    experiments, message = MISTAKES[mistake]
    with pytest.raises(ConfigError) as caught:
        load(config, **experiments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_where_nobody_starts_from_the_base_an_experiment_may_be_called_so(config):
    study = load(config, base=PLAIN, mine=AVIT | {"baseline": "base"})
    assert study.runs["mine-s0"].source is None


@pytest.mark.parametrize(
    ("halting", "expected"),
    [
        ({}, (5, -10)),
        ({"preset": "paper"}, (5, -10)),
        ({"preset": "official"}, (10, -30)),
        ({"preset": "official", "gamma": 7}, (7, -30)),
        ({"preset": "official", "beta": 0}, (10, 0)),
    ],
)
def test_gamma_and_beta_are_the_presets_or_given(config, halting, expected):
    found = load(config, mine=AVIT | {"halting": halting}).runs["mine-s0"].settings["halting"]
    assert (found["gamma"], found["beta"]) == expected


def test_what_is_left_out_is_completed(config):
    study = load(config, mine=AVIT)
    assert study.runs["mine-s0"].settings["halting"] == {
        "gamma": 5, "beta": -10, "eps": 0.01, "alpha_ponder": 0.0005, "alpha_distribution": 0.1,
        "expected_depth": None, "depth_std": 1.0, "target_gflops": None,
    }  # fmt: skip
    assert study.runs["mine-s0"].settings["distillation"]["weight"] == 0
    assert study.experiments["mine"].evaluation == {
        "eps": 0.01, "inference_eps": [], "alpha_distribution": 0.1, "expected_depth": None,
        "depth_std": 1.0, "target_gflops": None, "baseline": None,
    }  # fmt: skip


def test_other_eps_for_inference_leave_the_training_as_it_is(config):
    before = load(config, mine=AVIT)
    after = load(config, mine=AVIT | {"halting": {"inference_eps": [0.3]}})
    assert after.runs["mine-s0"].settings == before.runs["mine-s0"].settings
    assert after.experiments["mine"].evaluation["inference_eps"] == [0.3]
    trained = load(config, mine=AVIT | {"halting": {"eps": 0.3}})
    assert trained.runs["mine-s0"].settings != before.runs["mine-s0"].settings


def test_another_baseline_trains_anew_only_whoever_learns_from_it(config):
    config["experiments"]["other"] = copy.deepcopy(PLAIN)
    alone = [load(config, mine=AVIT | {"baseline": name}).runs for name in ("plain", "other")]
    assert alone[0]["mine-s0"] == alone[1]["mine-s0"]
    taught = AVIT | {"distillation": {"weight": 0.5}}
    runs = [load(config, mine=taught | {"baseline": name}).runs for name in ("plain", "other")]
    assert [found["mine-s1"].teacher for found in runs] == ["plain-s1", "other-s1"]


def test_the_source_is_the_baseline_unless_another_is_named(config):
    config["experiments"]["tuned"] = PLAIN | {"schedule": [ALL]}
    taught = AVIT | {"from": "plain", "distillation": {"weight": 0.5}}
    study = load(config, mine=taught, other=taught | {"baseline": "tuned"})
    assert study.experiments["mine"].evaluation["baseline"] == "plain"
    assert study.runs["mine-s1"].teacher == study.runs["mine-s1"].source == "plain-s1"
    assert study.experiments["other"].evaluation["baseline"] == "tuned"
    assert study.runs["other-s1"].source == "plain-s1"
    assert study.runs["other-s1"].teacher == "tuned-s1"


def test_a_baseline_may_stand_below(config):
    config["experiments"] = {"mine": AVIT | {"baseline": "plain"}, **config["experiments"]}
    study = load(config)
    assert list(study.experiments) == ["mine", "plain"]
    assert study.experiments["mine"].evaluation["baseline"] == "plain"


@pytest.mark.parametrize("start", [{}, {"from": "base"}], ids=["left out", "said"])
def test_halting_starts_from_the_base(config, start):
    run = load(config, mine=AVIT | start).runs["mine-s0"]
    assert (run.source, run.teacher) == (None, None)
    assert run.feature_sets == ["plain"], "its head phase reads the base's cached features"
    assert not run.head_only


def test_a_plain_experiment_may_say_that_it_starts_from_the_base(config):
    said = load(config, mine=PLAIN | {"from": "base"}).runs["mine-s0"]
    assert said == load(config, mine=PLAIN).runs["mine-s0"]


def test_what_trains_nothing_has_its_sources_runs(config):
    study = load(config, merged=MERGING, pruned=PRUNING | {"seeds": [1], "prune_blocks": [2]})
    assert study.adaptive_runs == study.adopted_runs == ["merged-s0", "merged-s1", "pruned-s1"]
    assert study.runs["merged-s1"].source == "plain-s1"
    assert study.runs["merged-s1"].settings["schedule"] == []
    assert study.experiments["merged"].evaluation == {"r": [2, 1]}
    assert study.experiments["pruned"].evaluation == {
        "keep_tokens": [0.7],
        "prune_blocks": [2],
        "select": "attention",
    }
    assert list(study.view_sets) == ["plain"]


def test_cached_views_of_others_are_known_beside_what_trains_nothing(config):
    config["training"] = {"views": 2, "augment": {"shift": 2}}
    views = load(config, merged=MERGING).view_sets
    assert len(views) == 2
    assert all(re.fullmatch(r"plain|views-[0-9a-f]{8}", name) for name in views)

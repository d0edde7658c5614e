# Which figures there are, and what their rules and captions look up.
from dataclasses import asdict

OTHER_FORMATS = [format for format in STUDY.config["figures"]["formats"] if format != "svg"]
PAGE = {key: STUDY.config["figures"][key] for key in ("width_mm", "dpi")}
SPLITS_FIGURES = ["samples", "class_counts"]
EXIT_FIGURES = ["exit_accuracy", "exit_calibration", "exit_tradeoff", "exit_depth", "exit_images"]
AVIT_FIGURES = ["avit_images", "avit_halting", "avit_tokens", "avit_losses"]
EXPERIMENT_FIGURES = ["learning_curves", "confusion", "mistakes", "reliability"]
# What rules and captions look up of an experiment.
OF_EXPERIMENT = {name: asdict(experiment) for name, experiment in STUDY.experiments.items()}
SPLITS_FOLDERS = sorted({OF_EXPERIMENT[name]["splits"] for name in STUDY.shown})
EXITS_SHOWN = [name for name in STUDY.shown if OF_EXPERIMENT[name]["exits"]]
TOKENS_SHOWN = [name for name in STUDY.shown if OF_EXPERIMENT[name]["tokens"]]
AVIT_SHOWN = [name for name in TOKENS_SHOWN if OF_EXPERIMENT[name]["method"] == "avit"]
# The comparison of what saves computation holds one set of splits, the first adaptive experiment's,
# for accuracies on other test images do not compare. Of each experiment: how many blocks it keeps.
COMPARED_SPLITS = [OF_EXPERIMENT[name]["splits"] for name in (*EXITS_SHOWN, *TOKENS_SHOWN)][:1]
COMPARED = {
    name: OF_EXPERIMENT[name]["keep_blocks"]
    for name in STUDY.shown
    if OF_EXPERIMENT[name]["splits"] in COMPARED_SPLITS
}
COMPARED_RUNS = [run for name in COMPARED for run in OF_EXPERIMENT[name]["final_runs"]]
# Experiments whose tokens leave, and the plain ones that they start from or are compared with.
TABULATED = [
    name
    for name in STUDY.shown
    if name in TOKENS_SHOWN
    or any(
        name in (OF_EXPERIMENT[other]["source"], OF_EXPERIMENT[other]["tokens"].get("baseline"))
        for other in TOKENS_SHOWN
    )
]
# Shallower models on the same splits, which early exits are compared with.
RIVALS = {
    name: {
        rival: OF_EXPERIMENT[rival]["keep_blocks"]
        for rival in STUDY.shown
        if OF_EXPERIMENT[rival]["keep_blocks"]
        and OF_EXPERIMENT[rival]["method"] == "fine_tune"
        and OF_EXPERIMENT[rival]["splits"] == OF_EXPERIMENT[name]["splits"]
    }
    for name in EXITS_SHOWN
}
RUNS_SHOWN = lookup(within=OF_EXPERIMENT, dpath="{experiment}/final_runs")
SPLITS_SHOWN = lookup(within=OF_EXPERIMENT, dpath="{experiment}/splits")
SETTINGS = lookup(within=OF_EXPERIMENT, dpath="{experiment}")
FIGURES = [
    "schedules",
    *expand(
        "{figure}-{splits}",
        figure=SPLITS_FIGURES,
        splits=SPLITS_FOLDERS,
    ),
    *expand("{figure}-{experiment}", figure=EXPERIMENT_FIGURES, experiment=STUDY.shown),
    *expand("{figure}-{experiment}", figure=EXIT_FIGURES, experiment=EXITS_SHOWN),
    *expand("{figure}-{experiment}", figure=AVIT_FIGURES, experiment=AVIT_SHOWN),
    *(["pareto"] if COMPARED else []),
    *expand("grid-{experiment}", experiment=[name for name in STUDY.grids if name in STUDY.shown]),
]

# Which figures there are, and what their rules and captions look up.
from dataclasses import asdict

OTHER_FORMATS = [format for format in STUDY.config["figures"]["formats"] if format != "svg"]
PAGE = {key: STUDY.config["figures"][key] for key in ("width_mm", "dpi")}
SPLITS_FIGURES = ["samples", "class_counts"]
EXIT_FIGURES = ["exit_accuracy", "exit_calibration", "exit_tradeoff", "exit_depth", "exit_images"]
EXPERIMENT_FIGURES = ["learning_curves", "confusion", "mistakes", "reliability"]
# What rules and captions look up of an experiment.
OF_EXPERIMENT = {name: asdict(experiment) for name, experiment in STUDY.experiments.items()}
SPLITS_FOLDERS = sorted({OF_EXPERIMENT[name]["splits"] for name in STUDY.shown})
EXITS_SHOWN = [name for name in STUDY.shown if OF_EXPERIMENT[name]["exits"]]
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
    *expand("grid-{experiment}", experiment=[name for name in STUDY.grids if name in STUDY.shown]),
]

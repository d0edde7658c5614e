"""Which objective a method trains with."""

from torch import nn

from frugalvit.methods.avit.objective import (
    HaltingClassification,
    WarmUp,
    ponder_weight,
)
from frugalvit.methods.early_exit.objective import ExitClassification
from frugalvit.models.backbone import architecture_of, backbone_of
from frugalvit.models.heads import feature_blocks
from frugalvit.training.objective import Classification, MakeObjective, Objective
from frugalvit.training.parallel import Share
from frugalvit.words import HEADS


def objective_for(
    settings: dict, model: nn.Module, teacher: nn.Module | None = None
) -> MakeObjective:
    """The objectives of a run's epochs, by its method.

    Labels are smoothed, and a teacher is asked, in training alone.

    Args:
        settings: the run's.
        model: built.
        teacher: in evaluation mode, for a method that learns from another run's answers.
    """

    def of_early_exit(phase: dict, history: list[dict], share: Share | None) -> Objective:
        return ExitClassification(
            feature_blocks(model),
            settings["depth_power"],
            settings["distillation"],
            phase["label_smoothing"] if share else 0.0,
        )

    def of_avit(phase: dict, history: list[dict], share: Share | None) -> Objective:
        smoothing = phase["label_smoothing"] if share else 0.0
        if phase["train"] in HEADS:
            return WarmUp(smoothing)
        architecture = architecture_of(backbone_of(model))
        return HaltingClassification(
            architecture,
            architecture["num_classes"],
            settings["halting"],
            ponder_weight(settings["halting"], history),
            settings["distillation"],
            teacher if share else None,
            smoothing,
            share,
        )

    def of_plain(phase: dict, history: list[dict], share: Share | None) -> Objective:
        return Classification(phase["label_smoothing"] if share else 0.0)

    return {"early_exit": of_early_exit, "avit": of_avit}.get(settings["method"], of_plain)

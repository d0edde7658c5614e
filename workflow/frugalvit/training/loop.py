"""The one training loop: phases, validation, the best epoch, resume, history."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from frugalvit.data.batches import mix_seed
from frugalvit.devices.fabric import Fabric
from frugalvit.errors import TrainingError
from frugalvit.jobs.progress import Progress as Shown
from frugalvit.models.backbone import parameter_part
from frugalvit.training.averaging import Averaged
from frugalvit.training.balance import with_class_weights
from frugalvit.training.checkpoint import Checkpoint
from frugalvit.training.freezing import (
    freeze_lines,
    freeze_report,
    num_layers_of,
    parts_trained,
    set_modes,
    train_label,
)
from frugalvit.training.lengths import inputs_of, total_steps, validates, with_lengths
from frugalvit.training.objective import Objectives
from frugalvit.training.parallel import Share
from frugalvit.training.parts import Gradients
from frugalvit.training.passes import Passes
from frugalvit.training.phases import (
    DROPOUT,
    Patience,
    RunData,
    Stage,
    prepare_stage,
    rate_factor,
)
from frugalvit.training.rates import with_rates
from frugalvit.words import heads_alone

log = logging.getLogger(__name__)
PLAIN = ("loss", "accuracy")  # what every method's history has


@dataclass
class Progress:
    """All that a killed run needs to go on, besides the weights and the optimiser."""

    phase: int = 0  # index of the phase in progress
    phase_epochs: int = 0  # epochs of it that are done
    patience: dict = field(default_factory=lambda: asdict(Patience()))
    history: list[dict] = field(default_factory=list)  # rows of history.csv
    best_epoch: int = 0
    best_score: list[float] = field(default_factory=lambda: [-math.inf, -math.inf])
    feature_seconds: float = 0.0  # spent on what this run alone stores: features, tokens
    resumed_after: list[int] = field(default_factory=list)  # epochs
    images_at_once: int | None = None  # in this phase, since memory ran out (`training.parts`)

    def enter_phase(self, index: int) -> None:
        """Begin the phase at `index`, with fresh patience and whole batches."""
        self.phase, self.phase_epochs, self.images_at_once = index, 0, None
        self.patience = asdict(Patience())


@dataclass
class Trainer:
    """Trains `model` in place through the phases of `settings["schedule"]`.

    The same settings, data and machine give the same weights to the bit on a CPU, also when the
    process is killed after any epoch and started again: every random number is drawn from the
    seed and the epoch only.
    """

    model: nn.Module  # built from the base with fresh heads, after the run's seed was set
    settings: dict  # a run's, as `frugalvit.config.study` expands them; then with its rates
    data: RunData
    objectives: Objectives  # the method's
    fabric: Fabric
    folder: Path  # the run's, for last.ckpt and TensorBoard events
    stamp: str  # fingerprint of everything that the checkpoint depends on
    after_epoch: Callable[[int], Any] | None = None  # called once an epoch is saved
    teacher: nn.Module | None = None  # whose answers the objectives ask for
    halve: bool = False  # batches for which memory runs out

    def __post_init__(self) -> None:
        images, layers = len(self.data.train_ids), num_layers_of(self.model)
        self.settings = with_lengths(with_rates(self.settings, images, layers), images)
        self.settings = with_class_weights(self.settings, self.data)

    def fit(self) -> Progress:
        """Train, and leave the kept epoch's weights in the model.

        Raises:
            TrainingError: the loss stopped being a finite number.
        """
        # Parameters that a phase after the best epoch trains must go back to what they were then.
        initial = self._state(set(self.model.state_dict()))
        progress, best, resumed = self._resume()
        self.model.to(self.fabric.device)
        with self._events(progress) as events:
            for number, phase in enumerate(self.settings["schedule"]):
                if number < progress.phase:
                    continue
                if number > progress.phase:
                    progress.enter_phase(number)
                stage = self._prepare(progress)
                self.passes.gradients.most = progress.images_at_once
                averaged = Averaged(self.model, phase["ema"]) if phase.get("ema") else None
                if resumed:
                    stage.optimizer.load_state_dict(resumed["optimizer"])
                    if averaged:
                        averaged.load(resumed["averaged"])
                    resumed = {}
                trained = self._names_trained(number)
                patience = Patience(**progress.patience)
                for _ in range(progress.phase_epochs, phase["epochs"]):
                    row, stalling, score = self._epoch(stage, progress, patience, averaged)
                    if score:
                        patience.update(phase, stalling, score[:-1])
                    self._record(row, progress, patience, events)
                    if score and (self.settings["keep"] == "last" or score > progress.best_score):
                        progress.best_score, progress.best_epoch = score, row["epoch"]
                        best = self._state(trained, averaged)
                    self._save(progress, trained, best, stage, averaged)
                    if self.after_epoch:
                        self.after_epoch(row["epoch"])
                    if patience.exhausted(phase):
                        log.info("early stop: validation no longer gets better")
                        break
                if stage.scratch:  # the next phase's tokens want the room
                    stage.scratch.cleanup()
        self.model.load_state_dict(initial | best)
        return progress

    @cached_property
    def share(self) -> Share:
        """This process's part of the work."""
        return Share(self.fabric)

    @property
    def checkpoint(self) -> Checkpoint:
        """The state after the last epoch; whoever has stored the result removes it."""
        return Checkpoint(self.folder / "last.ckpt", self.stamp)

    @cached_property
    def passes(self) -> Passes:
        """What goes through the images."""
        gradients = Gradients(self.share, self.halve)
        return Passes(self.share, self.data, self.settings["seed"], gradients)

    def _resume(self) -> tuple[Progress, dict[str, Tensor], dict[str, Any]]:
        """Progress, best weights and the state of the last epoch saved; of a new run, of none."""
        with self.share.one_by_one():  # the first may discard it
            state = self.checkpoint.load()
        if state is None:
            return Progress(), {}, {}
        progress = Progress(**state["progress"])
        self.model.load_state_dict(state["model"], strict=False)
        epochs = len(progress.history)
        progress.resumed_after.append(epochs)
        log.info("resumed after epoch %d", epochs)
        phase = self.settings["schedule"][progress.phase]
        over = progress.phase_epochs >= phase["epochs"]
        if over or Patience(**progress.patience).exhausted(phase):
            progress.enter_phase(progress.phase + 1)
            return progress, state["best"], {}
        return progress, state["best"], state

    def _save(
        self,
        progress: Progress,
        trained: set[str],
        best: dict,
        stage: Stage,
        averaged: Averaged | None,
    ) -> None:
        if self.share.first:
            self.checkpoint.save(
                {
                    "progress": asdict(progress),
                    "model": self._state(trained),
                    "best": best,
                    "optimizer": stage.optimizer.state_dict(),
                    "averaged": averaged.state() if averaged else {},
                }
            )

    @contextmanager
    def _events(self, progress: Progress) -> Iterator[SummaryWriter | None]:
        """TensorBoard's curves, written by the first process from the next epoch on."""
        if not self.share.first:
            yield None
            return
        step = len(progress.history) + 1
        writer = SummaryWriter(self.folder / "tensorboard", purge_step=step)
        yield writer
        writer.close()

    def _prepare(self, progress: Progress) -> Stage:
        schedule = self.settings["schedule"]
        phase = schedule[progress.phase]
        log.info("%s", freeze_lines(freeze_report(self.model, phase["train"]))[0])
        fresh = self.data.base_backbone and all(
            heads_alone(earlier["train"]) for earlier in schedule[: progress.phase]
        )
        started = time.perf_counter()
        how = (self.settings, phase, self.data, fresh, self.folder, self.teacher)
        stage = prepare_stage(self.share, self.model, *how)
        if stage.cached and (stage.scratch or not fresh):
            progress.feature_seconds += time.perf_counter() - started
        return stage

    def _names_trained(self, phase: int) -> set[str]:
        """Parameters trained up to a phase: only they differ from the base, so only they are saved."""
        parts: set[str] = set()
        for done in self.settings["schedule"][: phase + 1]:
            parts.update(parts_trained(self.model, done["train"]))
        return {name for name in self.model.state_dict() if parameter_part(name) in parts}

    def _state(self, names: set[str], averaged: Averaged | None = None) -> dict[str, Tensor]:
        """Parameters, and what batch norms have counted; of their average, where there is one."""
        values = averaged.values if averaged else self.model.state_dict()
        return {
            name: value.detach().cpu().clone() for name, value in values.items() if name in names
        }

    def _epoch(
        self, stage: Stage, progress: Progress, patience: Patience, averaged: Averaged | None
    ) -> tuple[dict, float, list[float]]:
        """Train one epoch and validate: a row of the history, the loss for plateau, the score.

        Of an epoch that is not validated the score is empty.
        """
        phase, seed = self.settings["schedule"][progress.phase], self.settings["seed"]
        epoch = len(progress.history) + 1
        started = time.perf_counter()
        # One process draws as it always did, further ones something else.
        drawn = [self.share.rank] if self.share.rank else []
        torch.manual_seed(mix_seed(seed, DROPOUT, epoch, *drawn))
        stage.train.epoch = epoch
        steps_per_epoch = math.ceil(len(stage.train) / phase["batch_size"])
        first_step = progress.phase_epochs * steps_per_epoch
        total = total_steps(phase, len(stage.train))
        inputs = inputs_of(phase, progress.phase_epochs, len(stage.train))

        def set_rates(step: int) -> None:
            factor = rate_factor(phase, first_step + step, steps_per_epoch, total)
            for group in stage.optimizer.param_groups:
                group["lr"] = phase["lr"] * group["lr_scale"] * factor * patience.factor

        stage.module.train()
        set_modes(self.model)
        validated = validates(phase, progress.phase_epochs)
        images = inputs + (len(stage.valid) if validated else 0)
        shown = Shown(f"epoch {epoch}", images, "images", enabled=self.share.first)
        objective = self.objectives.training(phase, progress.history, self.share)
        how = (set_rates, epoch, inputs, shown, averaged)
        trained = self.passes.train(stage, phase, objective, *how)
        if not math.isfinite(trained["loss"]):
            raise TrainingError(
                f"schedule[{progress.phase}].lr: the loss is no longer finite in epoch {epoch}; "
                f"lower lr ({phase['lr']:g}) or set clip_norm"
            )
        objective = self.objectives.validation(phase, progress.history)
        valid: dict[str, float] = {}
        if validated:
            with averaged.in_place() if averaged else nullcontext():
                valid = self.passes.validate(stage, objective, shown)
            for line in objective.lines(valid):
                log.info("%s", line)
        row = {
            "epoch": epoch,
            "phase": progress.phase + 1,
            "train": train_label(phase["train"]),
            "lr": max(group["lr"] for group in stage.optimizer.param_groups),
            **{f"train_{name}": trained[name] for name in ("loss", "accuracy")},
            **{f"valid_{name}": valid.get(name) for name in ("loss", "accuracy")},
            "seconds": time.perf_counter() - started,
            **{f"train_{name}": value for name, value in trained.items() if name not in PLAIN},
            **{f"valid_{name}": value for name, value in valid.items() if name not in PLAIN},
            **objective.weights,
        }
        if self.passes.gradients.most:
            row["images_at_once"] = self.passes.gradients.most
        # Times differ from process to process, and with them what depends on the row.
        scored = (valid[objective.stalls_on], objective.score(valid)) if valid else (math.inf, [])
        return self.fabric.broadcast((row, *scored))

    def _record(
        self, row: dict, progress: Progress, patience: Patience, writer: SummaryWriter | None
    ) -> None:
        progress.history.append(row)
        progress.patience = asdict(patience)
        progress.phase_epochs += 1
        progress.images_at_once = row.get("images_at_once")
        if writer:
            for name, value in row.items():
                split, _, measure = name.partition("_")
                if split in ("train", "valid") and measure and value is not None:
                    writer.add_scalar(f"{measure}/{split}", value, row["epoch"])
            writer.add_scalar("lr", row["lr"], row["epoch"])
        epochs = sum(phase["epochs"] for phase in self.settings["schedule"])
        told = "not validated"
        if row["valid_loss"] is not None:
            told = f"validation loss {row['valid_loss']:.4f} accuracy {row['valid_accuracy']:.4f}"
        log.info(
            "epoch %d of %d [%s] loss %.4f accuracy %.4f | %s | %.1f s",
            row["epoch"], epochs, row["train"], row["train_loss"], row["train_accuracy"], told,
            row["seconds"],
        )  # fmt: skip

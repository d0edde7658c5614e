"""The one training loop: phases, validation, the best epoch, resume, history."""

import logging
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from frugalvit.training.checkpoint import Checkpoint
from frugalvit.training.freezing import (
    freeze_lines,
    freeze_report,
    num_layers_of,
    parts_trained,
    set_modes,
    train_label,
)
from frugalvit.training.objective import Objective, Objectives
from frugalvit.training.parallel import Share
from frugalvit.training.phases import (
    DROPOUT,
    SHUFFLE,
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
    feature_seconds: float = 0.0  # spent on features of a backbone that had changed
    resumed_after: list[int] = field(default_factory=list)  # epochs

    def enter_phase(self, index: int) -> None:
        """Begin the phase at `index`, with fresh patience."""
        self.phase, self.phase_epochs = index, 0
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

    def __post_init__(self) -> None:
        images, layers = len(self.data.train_ids), num_layers_of(self.model)
        self.settings = with_rates(self.settings, images, layers)

    def fit(self) -> Progress:
        """Train, and leave the kept epoch's weights in the model.

        Raises:
            TrainingError: the loss stopped being a finite number.
        """
        # Parameters that a phase after the best epoch trains must go back to what they were then.
        initial = self._state({name for name, _ in self.model.named_parameters()})
        progress, best, optimizer_state = self._resume()
        self.model.to(self.fabric.device)
        with self._events(progress) as events:
            for number, phase in enumerate(self.settings["schedule"]):
                if number < progress.phase:
                    continue
                if number > progress.phase:
                    progress.enter_phase(number)
                stage = self._prepare(progress)
                if optimizer_state is not None:
                    stage.optimizer.load_state_dict(optimizer_state)
                    optimizer_state = None
                trained = self._names_trained(number)
                patience = Patience(**progress.patience)
                for _ in range(progress.phase_epochs, phase["epochs"]):
                    row, stalling, score = self._epoch(stage, progress, patience)
                    patience.update(phase, stalling, score[:-1])
                    self._record(row, progress, patience, events)
                    if self.settings["keep"] == "last" or score > progress.best_score:
                        progress.best_score, progress.best_epoch = score, row["epoch"]
                        best = self._state(trained)
                    self._save(progress, trained, best, stage)
                    if self.after_epoch:
                        self.after_epoch(row["epoch"])
                    if patience.exhausted(phase):
                        log.info("early stop: validation no longer gets better")
                        break
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

    def _resume(self) -> tuple[Progress, dict[str, Tensor], dict | None]:
        """Progress, best weights and optimiser of the last epoch saved; of a new run, of none."""
        with self.share.one_by_one():  # the first may discard it
            state = self.checkpoint.load()
        if state is None:
            return Progress(), {}, None
        progress = Progress(**state["progress"])
        self.model.load_state_dict(state["model"], strict=False)
        epochs = len(progress.history)
        progress.resumed_after.append(epochs)
        log.info("resumed after epoch %d", epochs)
        phase = self.settings["schedule"][progress.phase]
        over = progress.phase_epochs >= phase["epochs"]
        if over or Patience(**progress.patience).exhausted(phase):
            progress.enter_phase(progress.phase + 1)
            return progress, state["best"], None
        return progress, state["best"], state["optimizer"]

    def _save(self, progress: Progress, trained: set[str], best: dict, stage: Stage) -> None:
        if self.share.first:
            self.checkpoint.save(
                {
                    "progress": asdict(progress),
                    "model": self._state(trained),
                    "best": best,
                    "optimizer": stage.optimizer.state_dict(),
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
        return {name for name, _ in self.model.named_parameters() if parameter_part(name) in parts}

    def _state(self, names: set[str]) -> dict[str, Tensor]:
        return {
            name: parameter.detach().cpu().clone()
            for name, parameter in self.model.named_parameters()
            if name in names
        }

    def _epoch(
        self, stage: Stage, progress: Progress, patience: Patience
    ) -> tuple[dict, float, list[float]]:
        """Train one epoch and validate: a row of the history, the loss for plateau, the score."""
        phase, seed = self.settings["schedule"][progress.phase], self.settings["seed"]
        epoch = len(progress.history) + 1
        started = time.perf_counter()
        # One process draws as it always did, further ones something else.
        drawn = [self.share.rank] if self.share.rank else []
        torch.manual_seed(mix_seed(seed, DROPOUT, epoch, *drawn))
        stage.train.epoch = epoch
        steps_per_epoch = math.ceil(len(stage.train) / phase["batch_size"])
        first_step = progress.phase_epochs * steps_per_epoch

        def set_rates(step: int) -> None:
            factor = patience.factor * rate_factor(phase, first_step + step, steps_per_epoch)
            for group in stage.optimizer.param_groups:
                group["lr"] = phase["lr"] * group["lr_scale"] * factor

        stage.module.train()
        set_modes(self.model)
        images = len(stage.train) + len(stage.valid)
        shown = Shown(f"epoch {epoch}", images, "images", enabled=self.share.first)
        objective = self.objectives.training(phase, progress.history, self.share)
        trained = self._train_batches(stage, phase, objective, set_rates, epoch, shown)
        if not math.isfinite(trained["loss"]):
            raise TrainingError(
                f"schedule[{progress.phase}].lr: the loss is no longer finite in epoch {epoch}; "
                f"lower lr ({phase['lr']:g}) or set clip_norm"
            )
        objective = self.objectives.validation(phase, progress.history)
        valid = self._validate(stage, objective, shown)
        for line in objective.lines(valid):
            log.info("%s", line)
        row = {
            "epoch": epoch,
            "phase": progress.phase + 1,
            "train": train_label(phase["train"]),
            "lr": max(group["lr"] for group in stage.optimizer.param_groups),
            **{f"train_{name}": trained[name] for name in ("loss", "accuracy")},
            **{f"valid_{name}": valid[name] for name in ("loss", "accuracy")},
            "seconds": time.perf_counter() - started,
            **{f"train_{name}": value for name, value in trained.items() if name not in PLAIN},
            **{f"valid_{name}": value for name, value in valid.items() if name not in PLAIN},
            **objective.weights,
        }
        # Times differ from process to process, and with them what depends on the row.
        return self.fabric.broadcast((row, valid[objective.stalls_on], objective.score(valid)))

    def _train_batches(
        self,
        stage: Stage,
        phase: dict,
        objective: Objective,
        set_rates: Callable[[int], None],
        epoch: int,
        shown: Shown,
    ) -> dict[str, float]:
        """Mean losses and measures over the epoch, as the weights were at each step."""
        # Summed on the device: reading a number from a GPU at every step would make it wait.
        sums = defaultdict(list)
        answers: list[tuple[Tensor, Tensor]] = []
        loader = self.share.training(
            stage.train,
            phase["batch_size"],
            mix_seed(self.settings["seed"], SHUFFLE, epoch),
            0 if stage.cached else self.data.workers,
        )
        for step, (inputs, labels, own) in enumerate(loader):
            set_rates(step)
            outputs = stage.module(inputs)
            losses = objective.losses(outputs, labels, inputs)
            stage.optimizer.zero_grad()
            self.fabric.backward(self.share.weighted(losses["loss"]))
            if phase["clip_norm"]:
                self.fabric.clip_gradients(
                    stage.module,
                    stage.optimizer,
                    max_norm=phase["clip_norm"],
                    error_if_nonfinite=False,
                )
            stage.optimizer.step()
            shown.advance(own * self.share.count)
            if not own:
                continue
            for name, loss in losses.items():
                sums[name].append(loss.detach() * own)
            outputs = outputs.detach()
            sums["accuracy"].append(objective.counts(outputs, labels)["accuracy"])
            answers.append((objective.predicted(outputs), labels))
        added = {name: torch.stack(values).sum().item() for name, values in sums.items()}
        return self._measures(objective, added, answers, len(stage.train))

    @torch.inference_mode()
    def _validate(self, stage: Stage, objective: Objective, shown: Shown) -> dict[str, float]:
        """Mean losses and measures over the whole validation split."""
        stage.module.eval()
        sums: dict[str, float] = defaultdict(float)
        answers: list[tuple[Tensor, Tensor]] = []
        workers = 0 if stage.cached else self.data.workers
        for inputs, labels in self.share.whole_batches(stage.valid, self.data.batch_size, workers):
            outputs = stage.module(inputs)
            for name, loss in objective.losses(outputs, labels, inputs).items():
                sums[name] += loss.item() * len(labels)
            for name, count in objective.counts(outputs, labels).items():
                sums[name] += count.item()
            answers.append((objective.predicted(outputs), labels))
            shown.advance(len(labels) * self.share.count)
        return self._measures(objective, sums, answers, len(stage.valid))

    def _measures(
        self, objective: Objective, sums: dict, answers: list[tuple[Tensor, Tensor]], count: int
    ) -> dict[str, float]:
        """Measures of a split from what each process summed and answered."""
        totals, predicted, labels = self.share.totals(sums, answers)
        means = {name: value / count for name, value in totals.items()}
        return means | objective.of_split(predicted, labels)

    def _record(
        self, row: dict, progress: Progress, patience: Patience, writer: SummaryWriter | None
    ) -> None:
        progress.history.append(row)
        progress.patience = asdict(patience)
        progress.phase_epochs += 1
        if writer:
            for name, value in row.items():
                split, _, measure = name.partition("_")
                if split in ("train", "valid") and measure:
                    writer.add_scalar(f"{measure}/{split}", value, row["epoch"])
            writer.add_scalar("lr", row["lr"], row["epoch"])
        epochs = sum(phase["epochs"] for phase in self.settings["schedule"])
        log.info(
            "epoch %d of %d [%s] loss %.4f accuracy %.4f | validation loss %.4f accuracy %.4f | %.1f s",
            row["epoch"], epochs, row["train"], row["train_loss"], row["train_accuracy"],
            row["valid_loss"], row["valid_accuracy"], row["seconds"],
        )  # fmt: skip

"""One pass over the images: every batch of an epoch that trains, or of a split that is validated."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from frugalvit.data.batches import ImageSet, mix_seed
from frugalvit.jobs.progress import Progress as Shown
from frugalvit.training.averaging import Averaged
from frugalvit.training.balance import SAMPLER, drawn_weights
from frugalvit.training.mixing import Mixing
from frugalvit.training.objective import Objective
from frugalvit.training.parallel import Share
from frugalvit.training.parts import Gradients
from frugalvit.training.phases import MIX, SHUFFLE, RunData, Stage


@dataclass(frozen=True)
class Passes:
    """Runs a stage's module over images, and adds up what its objective tells."""

    share: Share
    data: RunData
    seed: int  # the run's
    gradients: Gradients

    def train(
        self,
        stage: Stage,
        phase: dict,
        objective: Objective,
        set_rates: Callable[[int], None],
        epoch: int,
        inputs: int,
        shown: Shown,
        averaged: Averaged | None = None,
    ) -> dict[str, float]:
        """Mean losses and measures over the epoch, as the weights were at each step.

        Args:
            stage: its module learns.
            phase: of the schedule.
            objective: what it minimises.
            set_rates: sets the learning rates of a step, from 0.
            epoch: of the run, from 1.
            inputs: images that train; fewer than there are ends the epoch early.
            shown: counts images.
            averaged: takes in the weights after each step.
        """
        # Summed on the device: reading a number from a GPU at every step would make it wait.
        sums = defaultdict(list)
        answers: list[tuple[Tensor, Tensor]] = []
        loader = self.share.training(
            stage.train,
            phase["batch_size"],
            mix_seed(self.seed, SHUFFLE, epoch),
            0 if stage.cached else self.data.workers,
            inputs,
            drawn_weights(stage.train.labels) if phase["balance"] == SAMPLER else None,
        )
        fabric = self.share.fabric
        classes = len(self.data.store.class_names)
        mix = Mixing(phase["augment"], classes, self.seed, MIX, epoch, self.share.rank)
        view = stage.train.view if isinstance(stage.train, ImageSet) else (lambda given: given)
        for step, (given, classes_given, own) in enumerate(loader):
            set_rates(step)
            images, labels = mix(view(given), classes_given)
            parts = self.gradients.of(stage, objective, images, labels)
            if phase["clip_norm"]:
                fabric.clip_gradients(
                    stage.module,
                    stage.optimizer,
                    max_norm=phase["clip_norm"],
                    error_if_nonfinite=False,
                )
            stage.optimizer.step()
            if averaged:
                averaged.update()
            shown.advance(own * self.share.count)
            for losses, outputs, given_labels in parts if own else []:
                for name, loss in losses.items():
                    sums[name].append(loss * len(given_labels))
                sums["accuracy"].append(objective.counts(outputs, given_labels)["accuracy"])
                answers.append((objective.predicted(outputs), given_labels))
        self.gradients.agree()
        added = {name: torch.stack(values).sum().item() for name, values in sums.items()}
        return self._measures(objective, added, answers, inputs)

    @torch.inference_mode()
    def validate(self, stage: Stage, objective: Objective, shown: Shown) -> dict[str, float]:
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

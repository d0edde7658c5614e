"""Scores worked out by hand, and one step that serves simulation and model alike."""

import math

import pytest
import torch

from frugalvit.errors import ConfigError
from frugalvit.methods.early_exit.criteria import (
    CRITERIA,
    decide,
    first_exits,
    score_exits,
    step_of,
)
from frugalvit.operating_point import NEVER

EXITS, CLASSES = 4, 3
HALF_QUARTERS = torch.tensor([0.5, 0.25, 0.25]).log()


def random_logits(images: int = 50, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(images, EXITS, CLASSES, generator=generator)


def repeated(classes: list[int]) -> torch.Tensor:
    """Logits `[1, exits, classes]` of one image whose exits predict `classes`."""
    return 3 * torch.eye(CLASSES)[classes][None]


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        ("confidence", 0.5),
        ("entropy", 1 - 1.5 * math.log(2) / math.log(3)),
        ("margin", 0.25),
        ("patience", 1),
        ("ensemble", 0.5),
    ],
)
def test_scores_by_hand(criterion, expected):
    score, answer, _ = step_of(criterion)(HALF_QUARTERS[None] + 7, 1.0, None)
    assert score.item() == pytest.approx(expected, abs=1e-6)
    torch.testing.assert_close(answer[0], HALF_QUARTERS)


@pytest.mark.parametrize("criterion", ["confidence", "entropy", "margin", "ensemble"])
def test_scores_span_zero_to_one(criterion):
    step = step_of(criterion)
    uniform = step(torch.zeros(1, CLASSES), 1.0, None)[0].item()
    sure = step(torch.tensor([[0.0, 500.0, 0.0]]), 1.0, None)[0].item()
    lowest = 1 / CLASSES if criterion in ("confidence", "ensemble") else 0.0
    assert uniform == pytest.approx(lowest, abs=1e-6)
    assert sure == 1.0
    scores, _ = score_exits(50 * random_logits(), [1.0] * EXITS, criterion)
    assert ((scores >= 0) & (scores <= 1)).all()


def test_patience_counts_exits_that_agree_without_a_break():
    scores, _ = score_exits(repeated([1, 1, 1, 1]), [1.0] * 4, "patience")
    assert scores.tolist() == [[1, 2, 3, 4]]
    scores, _ = score_exits(repeated([1, 1, 0, 0]), [1.0] * 4, "patience")
    assert scores.tolist() == [[1, 2, 1, 2]]


def test_the_ensemble_is_the_normalised_geometric_mean_of_calibrated_exits():
    logits, temperatures = random_logits(), torch.tensor([0.5, 1.0, 2.0, 3.0])
    probabilities = (logits.double() / temperatures[None, :, None]).softmax(dim=2)
    scores, answers = score_exits(logits, temperatures, "ensemble")
    for position in range(EXITS):
        mean = probabilities[:, : position + 1].prod(dim=1) ** (1 / (position + 1))
        expected = mean / mean.sum(dim=1, keepdim=True)
        torch.testing.assert_close(answers[:, position].exp().double(), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(
            scores[:, position].double(), expected.amax(dim=1), rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("criterion", ["confidence", "entropy", "margin", "ensemble"])
def test_a_hot_exit_is_less_sure(criterion):
    logits = random_logits()
    cold, _ = score_exits(logits, [1.0] * EXITS, criterion)
    hot, answers = score_exits(logits, [4.0] * EXITS, criterion)
    assert (hot[:, 0] < cold[:, 0]).all()
    assert torch.equal(answers[:, 0].argmax(dim=1), logits[:, 0].argmax(dim=1))


def test_an_image_leaves_at_the_first_exit_that_reaches_the_threshold():
    scores = torch.tensor([[0.2, 0.9, 0.1, 0.9], [0.7, 0.9, 0.9, 0.9], [0.1, 0.2, 0.3, 0.1]])
    assert first_exits(scores, 0.7).tolist() == [1, 0, 3]
    assert first_exits(scores, 0.0).tolist() == [0, 0, 0]
    assert first_exits(scores, NEVER).tolist() == [3, 3, 3]


@pytest.mark.parametrize("criterion", CRITERIA)
def test_the_answer_is_that_of_the_exit_where_the_image_left(criterion):
    logits, temperatures = random_logits(), [0.7, 1.0, 1.3, 2.0]
    scores, answers = score_exits(logits, temperatures, criterion)
    threshold = 2.0 if criterion == "patience" else scores[:, :-1].median().item()
    exits, answered = decide(logits, temperatures, criterion, threshold)
    assert len(exits.unique()) > 2
    for image, position in enumerate(exits.tolist()):
        assert (scores[image, :position] < threshold).all()
        assert scores[image, position] >= threshold or position == EXITS - 1
        assert torch.equal(answered[image], answers[image, position])


@pytest.mark.parametrize("criterion", CRITERIA)
def test_images_may_be_dropped_between_steps(criterion):
    logits, step = random_logits(), step_of(criterion)
    scores, answers = score_exits(logits, [1.0] * EXITS, criterion)
    images, state = torch.arange(len(logits)), None
    for position in range(EXITS):
        score, answer, state = step(logits[images, position], 1.0, state)
        assert torch.equal(score, scores[images, position])
        assert torch.equal(answer, answers[images, position])
        kept = torch.arange(position, len(images), 2)
        state = {name: part.index_select(0, kept) for name, part in state.items()}
        images = images[kept]


@pytest.mark.parametrize("criterion", CRITERIA)
def test_never_leaving_is_the_plain_model(criterion):
    logits = random_logits()
    exits, answers = decide(logits, [1.0, 1.0, 1.0, 2.0], criterion, NEVER)
    assert (exits == EXITS - 1).all()
    torch.testing.assert_close(answers, (logits[:, -1] / 2).log_softmax(dim=1))


@pytest.mark.parametrize("criterion", CRITERIA)
def test_scores_are_float32_whatever_the_models_precision(criterion):
    logits = random_logits().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        lowered = score_exits(logits, [1.0] * EXITS, criterion)
    for under_autocast, plain in zip(
        lowered, score_exits(logits.float(), [1.0] * EXITS, criterion)
    ):
        assert under_autocast.dtype == torch.float32
        assert torch.equal(under_autocast, plain)


def test_a_criterion_that_does_not_exist():
    with pytest.raises(ConfigError, match=r"criterion: 'trust' does not exist: choose from conf"):
        step_of("trust")

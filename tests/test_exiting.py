"""A batch that shrinks: the same decisions as image by image, and the work that it saves."""

import pytest
import torch
from torch import nn

from frugalvit.methods.early_exit.criteria import CRITERIA, decide, log_probabilities, score_exits
from frugalvit.methods.early_exit.exiting import Exiting
from frugalvit.methods.early_exit.model import EarlyExits
from frugalvit.models.backbone import build
from frugalvit.operating_point import NEVER

ARCHITECTURE = {
    "image_size": 16, "patch_size": 4, "num_layers": 6, "num_heads": 2, "hidden_dim": 16,
    "mlp_dim": 24,
}  # fmt: skip
HEAD = {"kind": "linear", "shallow": "conv", "shallow_blocks": 2, "hidden_dim": 8}
EXIT_AFTER, CLASSES, BATCH = [1, 2, 4, 5, 6], 5, 24
LAST = len(EXIT_AFTER) - 1
TEMPERATURES = [0.5, 0.8, 1.0, 1.2, 0.7]


@pytest.fixture(scope="module")
def model() -> EarlyExits:
    torch.manual_seed(0)
    backbone = build(ARCHITECTURE, CLASSES)
    nn.init.normal_(backbone.heads.head.weight)
    return EarlyExits(backbone, EXIT_AFTER, HEAD).eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(BATCH, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def logits(model, images) -> torch.Tensor:
    with torch.no_grad():
        return model(images)


def middle_threshold(logits: torch.Tensor, criterion: str) -> float:
    """One between scores, at which some images leave early and some go on."""
    if criterion == "patience":
        return 2.0
    scores = score_exits(logits, TEMPERATURES, criterion)[0][:, :2].flatten().sort().values
    widest = (scores.diff()[40:]).argmax() + 40
    return (scores[widest : widest + 2].mean()).item()


def scripted(depths: list[int]):
    """A step at which image k of the batch leaves at exit `depths[k]`."""

    def step(logits, temperature, state):
        to_go = torch.tensor(depths) if state is None else state["to_go"] - 1
        return (to_go <= 0).float(), log_probabilities(logits, temperature), {"to_go": to_go}

    return step


def rows_per_block(model: EarlyExits, exiting: Exiting, images: torch.Tensor) -> list[int]:
    """Rows that each block read; blocks that never ran are missing."""
    rows: list[int] = []
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
        for layer in model.backbone.encoder.layers
    ]
    exiting(images)
    for hook in hooks:
        hook.remove()
    return rows


@pytest.mark.parametrize("compact_from", [None, 0.3, 2.0])
@pytest.mark.parametrize("criterion", CRITERIA)
def test_decides_as_image_by_image(model, images, logits, criterion, compact_from):
    threshold = middle_threshold(logits, criterion)
    exiting = Exiting(model, criterion, threshold, TEMPERATURES, compact_from)
    answers, exits = exiting(images)
    one_by_one = [exiting(image[None]) for image in images]
    assert torch.equal(exits, torch.cat([exit for _, exit in one_by_one]))
    torch.testing.assert_close(answers, torch.cat([answer for answer, _ in one_by_one]))
    simulated_exits, simulated_answers = decide(logits, TEMPERATURES, criterion, threshold)
    assert torch.equal(exits, simulated_exits)
    torch.testing.assert_close(answers, simulated_answers)
    assert len(exits.unique()) > 1


@pytest.mark.parametrize("compact_from", [None, 0.3, 2.0])
def test_every_image_gets_the_answer_of_its_own_exit(model, images, logits, compact_from):
    generator = torch.Generator().manual_seed(2)
    for _ in range(20):
        depths = torch.randint(LAST + 1, (BATCH,), generator=generator)
        exiting = Exiting(model, scripted(depths.tolist()), 0.5, compact_from=compact_from)
        answers, exits = exiting(images)
        assert torch.equal(exits, depths)
        expected = logits[torch.arange(BATCH), depths].log_softmax(dim=1)
        torch.testing.assert_close(answers, expected)


def test_images_that_are_done_cost_nothing_more(model, images):
    depths = [0] * 10 + [2] * 8 + [3] * 4 + [LAST] * 2
    exiting = Exiting(model, scripted(depths), 0.5)
    assert rows_per_block(model, exiting, images) == [24, 14, 14, 14, 6, 2]
    nobody_late = Exiting(model, scripted([0] * 12 + [2] * 12), 0.5)
    assert rows_per_block(model, nobody_late, images) == [24, 12, 12, 12]


def test_few_images_that_are_done_are_carried_along(model, images):
    depths = [0] * 2 + [1] * 3 + [2] * 14 + [LAST] * 5
    exiting = Exiting(model, scripted(depths), 0.5, compact_from=0.2)
    assert rows_per_block(model, exiting, images) == [24, 24, 19, 19, 5, 5]
    never_dropped = Exiting(model, scripted([0] * 12 + [2] * 12), 0.5, compact_from=2.0)
    assert rows_per_block(model, never_dropped, images) == [24, 24, 24, 24]


def test_tokens_are_not_copied_when_nobody_left(model, images):
    read, written = [], []
    layers = model.backbone.encoder.layers
    hooks = [layers[1].register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))]
    hooks += [layers[0].register_forward_hook(lambda _, inputs, output: written.append(output))]
    Exiting(model, scripted([2] * BATCH), 0.5)(images)
    Exiting(model, scripted([0] + [2] * (BATCH - 1)), 0.5)(images)
    for hook in hooks:
        hook.remove()
    assert read[0] is written[0]
    assert len(read[1]) == BATCH - 1


@pytest.mark.parametrize("criterion", CRITERIA)
def test_never_leaving_asks_no_exit(model, images, logits, criterion):
    def refuse(*_):
        raise AssertionError("an exit was asked")

    hooks = [head.register_forward_hook(refuse) for head in model.exits.values()]
    answers, exits = Exiting(model, criterion, NEVER, TEMPERATURES)(images)
    for hook in hooks:
        hook.remove()
    assert (exits == LAST).all()
    with torch.inference_mode():
        plain = model.backbone(images)
    assert torch.equal(answers, log_probabilities(plain, TEMPERATURES[-1]))


@pytest.mark.parametrize("threshold", [0.5, NEVER])
def test_no_images_at_all(model, images, threshold):
    answers, exits = Exiting(model, "ensemble", threshold)(images[:0])
    assert answers.shape == (0, CLASSES)
    assert exits.shape == (0,)


def test_under_autocast_scores_and_answers_stay_float32(model, images):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        lowered = model(images)
        threshold = middle_threshold(lowered, "confidence")
        answers, exits = Exiting(model, "confidence", threshold, TEMPERATURES, 2.0)(images)
    expected_exits, expected = decide(lowered, TEMPERATURES, "confidence", threshold)
    assert answers.dtype == torch.float32
    assert torch.equal(exits, expected_exits)
    torch.testing.assert_close(answers, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("criterion", CRITERIA)
def test_decides_alike_on_cuda(model, images, logits, criterion):
    threshold = middle_threshold(logits, criterion)
    try:
        on_cuda = Exiting(model, criterion, threshold, TEMPERATURES).cuda()
        answers, exits = on_cuda(images.cuda())
    finally:
        model.cpu()
    expected_exits, expected = decide(logits, TEMPERATURES, criterion, threshold)
    assert torch.equal(exits.cpu(), expected_exits)
    torch.testing.assert_close(answers.cpu(), expected, rtol=1e-3, atol=1e-3)

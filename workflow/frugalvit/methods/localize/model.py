"""Two heads on one backbone: the class of an image, and the box of its object.

What answers is one tensor `[batch, classes + 4 + 2]`: logits, the box `x0, y0, x1, y1` as shares of the
view's side, and the logarithms of the two losses' learned variances, which only training reads.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer
from torchvision.ops import box_convert

from frugalvit.models.backbone import CLASS_TOKEN, PATCH_MEAN, block_outputs, pool
from frugalvit.models.halves import SecondHalf
from frugalvit.models.heads import Adapted


class Answers(NamedTuple):
    """A model's outputs, taken apart."""

    logits: Tensor  # [batch, classes]
    boxes: Tensor  # [batch, 4]
    log_variances: Tensor  # [batch, 2]: of the class, of the box


def answers_of(outputs: Tensor) -> Answers:
    """Take a model's outputs `[batch, classes + 4 + 2]` apart."""
    return Answers(outputs[:, :-6], outputs[:, -6:-2], outputs[:, -2:])


def _mlp(width: int, how: Mapping[str, Any], outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, how["hidden_dim"]),
        nn.ReLU(),
        nn.Dropout(how["dropout"]),
        nn.Linear(how["hidden_dim"], outputs),
    )


class PooledHeads(nn.Module):
    """Both heads on the class token, joined with the mean patch token where they read it."""

    reads_grid = False

    def __init__(self, dim: int, num_classes: int, how: Mapping[str, Any]):
        super().__init__()
        self.mean, self.sigmoid = how["tokens"] == "class_mean", how["sigmoid"]
        width = 2 * dim if self.mean else dim
        self.classes = _mlp(width, how, num_classes)
        self.box = _mlp(width, how, 4)
        self.log_variances = nn.Parameter(torch.zeros(2))

    def forward(self, pooled: Tensor) -> Tensor:
        """Outputs from normalised pooled tokens `[batch, 2, dim]`."""
        read = pooled.flatten(1) if self.mean else pooled[:, CLASS_TOKEN]
        box = self.box(read)
        box = box_convert(box.sigmoid() if self.sigmoid else box, "cxcywh", "xyxy")
        return _joined(self.classes(read), box, self.log_variances)


class GridHeads(nn.Module):
    """The class by an attention over all tokens, the box by where its edges are expected.

    A mask weighs the patches of each column and of each row. From the mean of a column's patches comes
    how likely it holds the left edge, how likely the right one, and where in the column: the edge is the
    expectation (integral regression, Sun et al. 2018), and never outside of the view.
    """

    reads_grid = True

    def __init__(self, dim: int, num_classes: int, how: Mapping[str, Any]):
        super().__init__()
        hidden = how["hidden_dim"]
        self.query = nn.Linear(dim, 1)
        self.classes = _mlp(2 * dim, how, num_classes)
        self.reduce = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(how["dropout"]))
        self.mask = nn.Linear(hidden, 1)
        self.columns = nn.Linear(hidden, 4)
        self.rows = nn.Linear(hidden, 4)
        self.log_variances = nn.Parameter(torch.zeros(2))

    def forward(self, tokens: Tensor) -> Tensor:
        """Outputs from normalised tokens `[batch, 1 + patches, dim]`."""
        weights = self.query(tokens).softmax(dim=1)
        attended = (weights * tokens).sum(dim=1)
        logits = self.classes(torch.cat([tokens[:, 0], attended], dim=1))
        side = math.isqrt(tokens.shape[1] - 1)
        grid = self.reduce(tokens[:, 1:]).unflatten(
            1, (side, side)
        )  # [batch, rows, columns, hidden]
        mask = self.mask(grid)
        left, right = _edges(self.columns((mask.softmax(dim=1) * grid).sum(dim=1)))
        top, bottom = _edges(self.rows((mask.softmax(dim=2) * grid).sum(dim=2)))
        # Two edges, whichever was meant: a box has no negative size.
        x, y = torch.stack([left, right], dim=1), torch.stack([top, bottom], dim=1)
        low, high = torch.stack([x.amin(1), y.amin(1)], 1), torch.stack([x.amax(1), y.amax(1)], 1)
        return _joined(logits, torch.cat([low, high], dim=1), self.log_variances)


def _edges(lines: Tensor) -> tuple[Tensor, Tensor]:
    """Both edges `[batch]` along one axis, from `[batch, side, 4]`: two scores, two offsets each."""
    side = lines.shape[1]
    scores, offsets = lines.float().chunk(2, dim=2)
    starts = torch.arange(side, device=lines.device)[:, None]
    places = (starts + offsets.sigmoid()) / side
    expected = (scores.softmax(dim=1) * places).sum(dim=1)
    return expected[:, 0], expected[:, 1]


def _joined(logits: Tensor, box: Tensor, log_variances: Tensor) -> Tensor:
    variances = log_variances.expand(len(logits), -1)
    return torch.cat([logits.float(), box.float(), variances.float()], dim=1)


class Localizer(Adapted):
    """A backbone whose head is replaced by two: class and box.

    Args:
        backbone: whose own head is dropped.
        how: `localize` of a run's settings.
    """

    def __init__(self, backbone: VisionTransformer, how: Mapping[str, Any]):
        super().__init__()
        kind = GridHeads if how["tokens"] == "grid" else PooledHeads
        backbone.heads = kind(backbone.hidden_dim, backbone.num_classes, how)
        self.backbone = backbone
        self.how = dict(how)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs, see the module."""
        *_, tokens = block_outputs(self.backbone, images)
        heads = self.backbone.heads
        return heads(self.backbone.encoder.ln(tokens if heads.reads_grid else pool(tokens)))

    def on_features(self) -> nn.Module:
        """Both heads on cached features."""
        return HeadsOnFeatures(self.backbone)

    def second_half(self, blocks: int) -> nn.Module:
        """The last blocks and both heads."""
        return SecondHalfToBoxes(self.backbone, blocks)

    @property
    def grid_blocks(self) -> list[int]:
        """The last block, where heads read every token."""
        return [self.num_layers] if self.backbone.heads.reads_grid else []


class SecondHalfToBoxes(SecondHalf):
    """The last blocks of a backbone, its norm and both heads."""

    def answer(self, tokens: Tensor) -> Tensor:
        """Outputs, see the module."""
        return self.heads(self.norm(tokens if self.heads.reads_grid else pool(tokens)))


class HeadsOnFeatures(nn.Module):
    """Final norm and both heads on the last block's tokens; shares its weights with a model.

    Reads `[batch, blocks, 2, dim]`, or a list of this and of `[batch, 1 + patches, dim]`.
    """

    def __init__(self, backbone: VisionTransformer):
        super().__init__()
        self.norm, self.heads = backbone.encoder.ln, backbone.heads

    def forward(self, inputs: Tensor | Sequence[Tensor]) -> Tensor:
        """Outputs, as the whole model gives them for the same images."""
        if isinstance(inputs, Tensor):
            return self.heads(self.norm(inputs[:, -1, [CLASS_TOKEN, PATCH_MEAN]]))
        return self.heads(self.norm(inputs[1]))


def adapt(backbone: VisionTransformer, settings: dict[str, Any]) -> Localizer:
    """Fresh heads on a backbone; see `methods.method.ModelPart`."""
    return Localizer(backbone, settings["localize"])


def describe(model: Localizer) -> dict[str, Any]:
    """Its heads."""
    return {"localize": model.how}


def restore(backbone: VisionTransformer, card: dict[str, Any]) -> Localizer:
    """The model of a card."""
    return Localizer(backbone, card["localize"])

"""Heads that answer class and box: on pooled tokens, or on the grid of places of an image."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import box_convert

from frugalvit.models.backbone import CLASS_TOKEN

BOX = 4  # numbers that a box has


def make_heads(dim: int, num_classes: int, how: Mapping[str, Any]) -> "PooledHeads | GridHeads":
    """Fresh heads on tokens of width `dim`, as `localize` of a run's settings asks."""
    return (GridHeads if how["tokens"] == "grid" else PooledHeads)(dim, num_classes, how)


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
        self.box = _mlp(width, how, BOX)
        self.log_variances = nn.Parameter(torch.zeros(2))

    def flops(self, places: int) -> int:
        """FLOPs per image, counted as `models.flops` does."""
        return _mlp_flops(self.classes) + _mlp_flops(self.box)

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

    def flops(self, places: int) -> int:
        """FLOPs per image of `places` patches, counted as `models.flops` does."""
        dim, hidden = self.query.in_features, self.mask.in_features
        each = _mlp_flops(self.reduce) + 2 * hidden  # of a place: reduced, and its mask
        lines = 2 * 2 * math.isqrt(places) * hidden * self.columns.out_features
        return 2 * (places + 1) * dim + places * each + lines + _mlp_flops(self.classes)

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


def _mlp_flops(mlp: nn.Sequential) -> int:
    return sum(2 * one.in_features * one.out_features for one in mlp if isinstance(one, nn.Linear))


def _edges(lines: Tensor) -> tuple[Tensor, Tensor]:
    """Both edges `[batch]` along one axis, from `[batch, side, 4]`: two scores, two offsets each."""
    side = lines.shape[1]
    scores, offsets = lines.float().chunk(2, dim=2)
    starts = torch.arange(side, device=lines.device)[:, None]
    places = (starts + offsets.sigmoid()) / side
    expected = (scores.softmax(dim=1) * places).sum(dim=1)
    return expected[:, 0], expected[:, 1]


def _joined(logits: Tensor, box: Tensor, log_variances: Tensor) -> Tensor:
    variances = log_variances.expand(logits.shape[0], -1)
    return torch.cat([logits.float(), box.float(), variances.float()], dim=1)

"""Operating points of models whose tokens leave: which there are, and the model behind each."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from frugalvit.data.batches import ImageSet, batches
from frugalvit.devices.fabric import Fabric
from frugalvit.methods.avit.model import (
    AViT,
    Halted,
    tokens_per_block,
)
from frugalvit.methods.avit.packing import Packed
from frugalvit.methods.token_merging.model import TokenMerging
from frugalvit.methods.token_pruning.model import TokenPruning
from frugalvit.methods.trained import Model
from frugalvit.models.backbone import architecture_of, backbone_of
from frugalvit.models.flops import vit_flops

MASKED = "masked"  # setting of the point that computes halted tokens and only hides them


@dataclass(frozen=True)
class TokenPoint:
    """One setting of a model whose tokens leave, and the model that runs it.

    `setting` and `value`: `packed` and `masked` with the eps that was trained with, `eps` with
    another, `r` (token merging) or `keep` (token pruning) with theirs. `chosen` marks the one in use.
    """

    setting: str
    value: float
    module: nn.Module
    chosen: bool = False

    @property
    def name(self) -> str:
        """How tables of cost call it."""
        return f"{self.setting} {self.value:g}"

    @property
    def num_layers(self) -> int:
        """Blocks of the model."""
        model = self.module.model if isinstance(self.module, Packed) else self.module
        return len(model.backbone.encoder.layers)


def token_points(model: Model, method: str, tokens: dict[str, Any]) -> list[TokenPoint]:
    """The points of an experiment, the one in use first.

    Args:
        model: of a run, in evaluation mode.
        method: `avit`, `token_merging` or `token_pruning`.
        tokens: the experiment's, as `frugalvit.config.token_keys` completes them.
    """
    if isinstance(model, AViT):
        eps = tokens["eps"]
        return [
            TokenPoint("packed", eps, Packed(_with_eps(model, eps)), chosen=True),
            TokenPoint(MASKED, eps, _with_eps(model, eps)),
            *(
                TokenPoint("eps", other, Packed(_with_eps(model, other)))
                for other in sorted(tokens["inference_eps"])
            ),
        ]
    backbone = backbone_of(model)
    if method == "token_merging":
        modules = [("r", r, TokenMerging(backbone, r)) for r in tokens["r"]]
    else:
        blocks = tokens["prune_blocks"]
        modules = [
            ("keep", keep, TokenPruning(backbone, keep, blocks)) for keep in tokens["keep_tokens"]
        ]
    return [TokenPoint(*named, chosen=place == 0) for place, named in enumerate(modules)]


class Answers(NamedTuple):
    """What a point's model says of a set of images."""

    logits: Tensor  # [images, classes]
    depths: Tensor | None  # [images, tokens], where tokens halt
    halting: Tensor | None  # [images, blocks], of the masked model, which alone has every score


@torch.inference_mode()
def answer(fabric: Fabric, module: nn.Module, images: ImageSet, batch_size: int) -> Answers:
    """Answers (on the CPU, float32) of a point's model to whole images, in their order."""
    module = fabric.setup_module(module).eval()
    batched = []
    for pixels, _ in fabric.setup_dataloaders(batches(images, batch_size)):
        outputs = module(pixels)
        if isinstance(outputs, Halted):
            batched.append((outputs.logits, outputs.depths, outputs.halting))
        else:
            parts = outputs if isinstance(outputs, tuple) else (outputs, None)
            batched.append((*parts, None))
    logits, depths, halting = (
        torch.cat(part).cpu() if part[0] is not None else None for part in zip(*batched)
    )
    return Answers(logits.float(), depths, halting)


def image_gflops(module: nn.Module, depths: Tensor | None) -> list[float] | float:
    """GFLOPs of each image by its depths `[images, tokens]`; of any image where tokens do not halt."""
    if depths is None:
        return module.gflops()
    model = module.model if isinstance(module, Packed) else module
    architecture = architecture_of(model.backbone)
    classes = architecture["num_classes"]
    if isinstance(module, AViT):
        return vit_flops(architecture, classes)  # it computes every token
    counts = tokens_per_block(depths, architecture["num_layers"])
    return vit_flops(architecture, classes, counts.unbind(dim=1)).tolist()


def _with_eps(model: AViT, eps: float) -> AViT:
    """The same weights, with tokens that halt when their scores have cumulated to 1 - `eps`."""
    return AViT(model.backbone, model.gamma, model.beta, eps).eval()

"""Stages as programs of `torch.export`, for torch without this library."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frugalvit.export.onnx_files import named_inputs, quietly
from frugalvit.files import atomic_path


def write_program(module: nn.Module, example: Sequence[Tensor], path: Path) -> list[Path]:
    """Write a stage as a program for batches of any size.

    Args:
        module: in evaluation mode, on the CPU.
        example: of its inputs, a batch of at least two.
        path: the file.

    Returns:
        The file.
    """
    batch = torch.export.Dim("batch")
    shapes: Any = tuple({0: batch} for _ in example)
    with torch.inference_mode(False), torch.no_grad(), quietly():
        program = torch.export.export(
            module.eval(),
            tuple(example),
            dynamic_shapes=shapes if named_inputs(module) else (shapes,),
        )
        with atomic_path(path) as temporary:
            torch.export.save(program, temporary)
    return [path]

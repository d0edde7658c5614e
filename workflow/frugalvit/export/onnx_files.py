"""Stages as ONNX files, whole or with weights of eight bits."""

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from frugalvit.errors import ConfigError
from frugalvit.files import atomic_path

OPSET = 18  # the oldest that torch writes without converting; runtimes since 2022 read it
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_INLINE = (
    1_500_000_000  # bytes of weights; a file of more than 2 GB is no protobuf, so they lie beside
)


def require_packages() -> None:
    """Refuse to begin without what writes and reads ONNX.

    Raises:
        ConfigError: a package is missing.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"--format onnx: {', '.join(missing)} not installed; pip install 'frugalvit[export]'"
        )


def write_onnx(
    module: nn.Module,
    example: Sequence[Tensor],
    inputs: Sequence[str],
    outputs: Sequence[str],
    path: Path,
    told: Mapping[str, str],
) -> list[Path]:
    """Write a stage as an ONNX file for batches of any size.

    Args:
        module: in evaluation mode, on the CPU.
        example: of its inputs, a batch of at least two.
        inputs: their names.
        outputs: names of what it returns.
        path: the file.
        told: its metadata.

    Returns:
        The files that were written.
    """
    batch = torch.export.Dim("batch")
    shapes: Any = tuple({0: batch} for _ in example)
    with torch.inference_mode(False), torch.no_grad(), quietly():
        program = torch.onnx.export(
            module.eval(),
            tuple(example),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=shapes if named_inputs(module) else (shapes,),
            custom_translation_table={torch.ops.aten.sort.stable: _sorter()},
            verbose=False,
        )
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # names of our files and lines, most of a small file
    program.model.metadata_props.update(told)
    size = sum(one.numel() * one.element_size() for one in module.state_dict().values())
    if size > _INLINE:  # the file names the other one, so that neither can be renamed
        program.save(path, external_data=True)
    else:
        with atomic_path(path) as temporary:
            program.save(temporary)
    return sorted(path.parent.glob(f"{path.name}*"))


def quantize(path: Path, target: Path) -> None:
    """Write a file with weights of eight bits, a scale for each column of a matrix or kernel.

    Activations are quantised as they come ("dynamic"): no images are needed beforehand.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with quietly(), atomic_path(target) as temporary:
        quantize_dynamic(path, temporary, weight_type=QuantType.QInt8, per_channel=True)


def named_inputs(module: nn.Module) -> bool:
    """Whether `forward` names its inputs; else it takes any number, one tuple to torch."""
    return module.forward.__code__.co_argcount > 1


def _sorter() -> Any:
    """torch's stable sort in ONNX, whose TopK has the first of equals first, which is stable."""
    from onnxscript import opset18 as op

    def stable_sort(self: Any, stable: Any = None, dim: int = -1, descending: bool = False) -> Any:
        count = op.Gather(op.Shape(self), op.Constant(value_ints=[dim]))
        return op.TopK(self, count, axis=dim, largest=int(descending), sorted=1)

    return stable_sort


@contextmanager
def quietly() -> Iterator[None]:
    """Without words of exporters about their own insides."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "root")]
    before = [one.level for one in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in loggers:
            one.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for one, level in zip(loggers, before):
                one.setLevel(level)

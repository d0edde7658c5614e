"""A run written as files that other programs run, and compared with it before anyone relies on them."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from frugalvit.data.batches import ImageSet
from frugalvit.devices.fabric import Fabric
from frugalvit.errors import ConfigError
from frugalvit.export import onnx_files, parity, runner, torch_programs
from frugalvit.export.pixels import FromPixels
from frugalvit.export.run_folder import write_run
from frugalvit.export.times import measure
from frugalvit.files import atomic_path, read_json, sha256_file, write_json
from frugalvit.methods import registry
from frugalvit.methods.graphs import Graphs, Stage, plain
from frugalvit.methods.predictor import Predictor
from frugalvit.methods.trained import load_run
from frugalvit.provenance import environment

CARD = "export.json"
SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2"}
INSIDE = ["centre crop to image_size", "normalisation by mean and std"]


@dataclass(frozen=True)
class Export:
    """What is exported, and where to.

    Attributes:
        run: its folder.
        predictor: the run at the operating point.
        form: `onnx`, `safetensors` or `torch-export`.
        out: folder of the export.
        int8: whether weights have eight bits.
    """

    run: Path
    predictor: Predictor
    form: str
    out: Path
    int8: bool = False

    def write(self) -> dict[str, Any]:
        """Write all files; returns the card, which `finish` writes.

        Raises:
            ConfigError: a package is missing, or the format cannot say what the run does.
        """
        graphs = None if self.form == "safetensors" else self.graphs()
        _empty(self.out)
        point, card = self.predictor.point, self.predictor.card
        told: dict[str, Any] = {
            "format": self.form,
            "run": card["run"],
            "method": card["method"],
            "weights_sha256": card.get("weights_sha256"),
            "point": None if point is None else {"name": point.name, "model": point.model},
            "classes": card["classes"],
            "int8": self.int8,
            "criterion": None,
            "threshold": None,
            "stages": [],
            "preprocessing": {**card["square"], **card["preprocessing"]},
            "inside": [] if self.form == "safetensors" else INSIDE,
            "environment": {**environment(), **self._versions()},
        }
        if self.form == "onnx":
            told["opset"] = onnx_files.OPSET
        if graphs is None:
            files = write_run(self.run, self.out, card, point)
        else:
            told |= {"criterion": graphs.criterion, "threshold": graphs.threshold}
            told["stages"], files = self._write_stages(graphs.stages, self.out)
            files.append(self.out / "runner.py")
            with atomic_path(files[-1]) as temporary:
                shutil.copyfile(runner.__file__, temporary)
        told["files"] = {file.name: sha256_file(file) for file in files}
        write_json(self.out / CARD, told)  # the runner reads it; what was compared comes last
        return told

    def _versions(self) -> dict[str, str]:
        packages = onnx_files.PACKAGES if self.form == "onnx" else ()
        return {name: version(name) for name in packages}

    def graphs(self) -> Graphs:
        """The run as graphs.

        Raises:
            ConfigError: no graph can say what it does.
        """
        method, point = self.predictor.card["method"], self.predictor.point
        if not registry.has(method, "exporting"):
            return plain(self.predictor.module)
        model = load_run(self.run)[0].eval()
        part = registry.part(method, "exporting")
        return part.graphs(model, self.predictor.card, point, self.run)

    def _write_stages(
        self, stages: Sequence[Stage], folder: Path
    ) -> tuple[list[dict[str, Any]], list[Path]]:
        side = self.predictor.card["square"]["crop"]
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (2, side, side, 3), generator=generator, dtype=torch.uint8)
        example, names = [pixels], ["images"]
        told, files = [], []
        for place, stage in enumerate(stages):
            module = stage.module
            if not place:
                module = FromPixels(module, self.predictor.card["preprocessing"], side)
            module = module.cpu().eval()
            many = len(stages) > 1
            stem = f"to_block_{stage.block}" if many else "model"
            path = folder / f"{stem}{SUFFIXES[self.form]}"
            files += self._write_stage(module, example, names, stage, path)
            told.append(
                {
                    "file": path.name,
                    "block": stage.block,
                    "answers": list(stage.answers),
                    "carried": list(stage.carried),
                }
            )
            with torch.no_grad():
                example = list(module(*example)[len(stage.answers) :])
            names = list(stage.carried)
        return told, files

    def _write_stage(
        self,
        module: torch.nn.Module,
        example: Sequence[Tensor],
        names: Sequence[str],
        stage: Stage,
        path: Path,
    ) -> list[Path]:
        if self.form == "torch-export":
            return torch_programs.write_program(module, example, path)
        outputs = [*stage.answers, *(f"next_{name}" for name in stage.carried)]
        card = self.predictor.card
        about = {"run": card["run"], "classes": "\n".join(card["classes"])}
        if not self.int8:
            return onnx_files.write_onnx(module, example, names, outputs, path, about)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            whole = Path(folder) / path.name
            onnx_files.write_onnx(module, example, names, outputs, whole, about)
            onnx_files.quantize(whole, path)
        return sorted(path.parent.glob(f"{path.name}*"))

    def model(self) -> runner.Model | None:
        """The export as its runner has it; None of a format that has none."""
        if self.form == "safetensors":
            return None
        return runner.Model(self.out, torch.get_num_threads())

    def compare(self, fabric: Fabric, images: ImageSet, batch_size: int) -> dict[str, Any]:
        """`check`, on all images, and `time`; see `parity` and `times`."""
        run, model = parity.of_run(self.predictor, fabric), self.model()
        if model is None:
            export = parity.of_run(Predictor(self.out), fabric)
            return {"check": parity.compare_stored(run, export, images, batch_size), "time": None}
        check = parity.compare_stored(run, model.answer, images, batch_size)
        timed = {"export": model.answer, "run": run}
        whole = self.graphs().whole
        if whole is None:
            return {"check": check, "time": measure(timed, images)}
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            stages, _ = self._write_stages([whole], folder)
            card = read_json(self.out / CARD)
            write_json(folder / CARD, card | {"stages": stages, "threshold": None})
            timed["whole"] = runner.Model(folder, torch.get_num_threads()).answer
            times = measure(timed, images)
        times["saved"] = round(1 - times["ms"]["export"] / times["ms"]["whole"], 4)
        return {"check": check, "time": times}

    def compare_files(
        self, fabric: Fabric, images: ImageSet, photos: Path
    ) -> dict[str, Any] | None:
        """`check_photos`, from image files; None of a format whose decoding is the run's."""
        model = self.model()
        if model is None:
            return None
        run = parity.of_run(self.predictor, fabric)
        return parity.compare_photos(self.predictor, run, model, images, photos)

    def finish(self, card: dict[str, Any]) -> None:
        """Write the card with what was found."""
        write_json(self.out / CARD, card)


def _empty(out: Path) -> None:
    """Have a folder for the export, without files of an earlier one."""
    if out.is_dir() and any(out.iterdir()) and not (out / CARD).is_file():
        raise ConfigError(f"{out}: holds other files; name another folder with --out")
    if (out / CARD).is_file():
        for name in read_json(out / CARD).get("files", {}):
            (out / Path(name).name).unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)

"""Made-up results of adaptive tokens and their rivals, with the columns of the real CSVs."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image

from tests import exit_tables, figure_tables

FULL_MS, FULL_PER_S = 14.0, 80.0
BATCH_SIZES = (1, 32, 128)
EPS = (0.05, 0.2, 0.4)
RATIOS = {"r": (2, 4, 8, 12), "keep": (0.9, 0.7, 0.5)}
METHODS = {"avit": "avit", "merging": "token_merging", "pruning": "token_pruning"}


@dataclass(frozen=True)
class Model:
    """A made-up A-ViT: its blocks, patches a side, classes, test images and the full cost."""

    blocks: int = 6
    side: int = 7
    classes: int = 10
    n: int = 360
    gflops: float = 0.0213


def of_runs(tables: list[pd.DataFrame], experiment: str = "avit") -> pd.DataFrame:
    """One table of runs, as `tables.read_runs` gives it."""
    runs = [
        table.assign(run=f"{experiment}-s{seed}", seed=seed) for seed, table in enumerate(tables)
    ]
    return pd.concat(runs, ignore_index=True)


def history(
    seed: int, phases: list[tuple[str, int]], stop: int | None = None, distillation: bool = False
) -> pd.DataFrame:
    """`history.csv` of one run: a phase of the head has no halting columns."""
    generator = np.random.default_rng(seed)
    table = figure_tables.history(seed, phases, stop)
    halts = table["train"] != "head"
    progress = pd.Series(np.linspace(0, 1, len(table)))
    for split, shift in (("train", 0.0), ("valid", 0.05)):
        noise = generator.normal(0, 0.01, len(table))
        table[f"{split}_macro_f1"] = table[f"{split}_accuracy"] - 0.02
        table[f"{split}_task"] = table[f"{split}_loss"] * 0.7
        table[f"{split}_ponder"] = (5.8 - 1.9 * progress + noise).where(halts)
        kl = 0.4 * np.exp(-3 * progress) + shift + np.abs(noise)
        table[f"{split}_distribution"] = kl.where(halts)
        if distillation:
            table[f"{split}_distillation"] = (1.1 * np.exp(-2 * progress) + shift).where(halts)
    table["valid_gflops"] = 4.6 - 1.3 * progress * halts
    return table.assign(alpha_ponder=(5e-4 * (1 + progress)).where(halts))


def halting(model: Model, seed: int) -> pd.DataFrame:
    """`halting.csv` of one run."""
    generator = np.random.default_rng(seed)
    blocks = np.arange(1, model.blocks + 1)
    tables = []
    for split in ("valid", "test"):
        target = np.exp(-0.5 * ((blocks - 0.6 * model.blocks) / (0.12 * model.blocks)) ** 2)
        share = np.exp(-0.5 * ((blocks - 0.66 * model.blocks) / (0.2 * model.blocks)) ** 2)
        share = share + np.abs(generator.normal(0, 0.02, model.blocks))
        tokens = share * (1 + 0.5 * (blocks == model.blocks))
        columns = {"halting": share, "tokens": tokens, "target": target}
        rows = {name: values / values.sum() for name, values in columns.items()}
        tables.append(pd.DataFrame({"block": blocks, "split": split, **rows, "n": model.n}))
    return pd.concat(tables, ignore_index=True)


def predictions(model: Model, seed: int, accuracy: float = 0.93) -> pd.DataFrame:
    """`predictions.csv` of one run: wrong answers took more tokens."""
    names = [str(label) for label in range(model.classes)]
    counts = (0, 5, max(model.n // model.classes, 1))
    table = figure_tables.predictions(figure_tables.assignments(names, counts), seed, accuracy)
    generator = np.random.default_rng(70 + seed)
    wrong = table["label"] != table["predicted"]
    tokens = np.clip(0.55 + 0.09 * wrong + generator.normal(0, 0.07, len(table)), 0.2, 1)
    return table.assign(tokens=tokens, depth=tokens * model.blocks)


def depth_images(model: Model, seed: int, boxes: bool = True, size: int = 48) -> pd.DataFrame:
    """`depth_images.csv` of one run: a bright disc on a dark ground, whose tokens go deep."""
    generator = np.random.default_rng(seed)
    rows = []
    for position in range(6):
        centre, radius = generator.uniform(0.35, 0.65, 2), 0.14 + 0.035 * position
        label = position % model.classes
        predicted = (label + 1) % model.classes if position == 4 else label
        low = np.clip(centre - radius, 0, 1)
        box = [*low, *(np.clip(centre + radius, 0, 1) - low)]
        reach = np.hypot(*(np.stack(_grid(model.side)) - centre[:, None, None])) / radius
        depths = np.clip(
            np.round(model.blocks * (1.25 - 0.35 * reach)), 1, model.blocks - (position < 2)
        )
        rows.append(
            {
                "id": f"test-{position:06d}",
                "split": "test",
                "label": label,
                "class_name": f"digit {label}",
                "predicted": predicted,
                "predicted_name": f"digit {predicted}",
                "probability": 0.998 - 0.06 * position,
                "image": _disc(centre, radius, size, generator),
                "side": model.side,
                "depths": " ".join(str(int(depth)) for depth in depths.ravel()),
                "class_depth": int(depths.max()),
                "blocks": model.blocks,
                "box": " ".join(f"{value:.4f}" for value in box) if boxes else np.nan,
                "position": position,
            }
        )
    return pd.DataFrame(rows)


def _grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the middles of `side` by `side` cells are, as shares: x and y `[side, side]`."""
    middles = (np.arange(side) + 0.5) / side
    x, y = np.meshgrid(middles, middles)
    return x, y


def _disc(centre: np.ndarray, radius: float, size: int, generator: np.random.Generator) -> str:
    inside = np.hypot(*(np.stack(_grid(size)) - centre[:, None, None])) < radius
    pixels = generator.integers(20, 60, (size, size, 3)) + inside[..., None] * [170, 140, 60]
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def metrics(model: Model, experiment: str, seeds: int, boxed: bool = True) -> pd.DataFrame:
    """`metrics.json` of an experiment's runs as a table."""
    rows = [
        {
            "run": f"{experiment}-s{seed}",
            "split": split,
            "n": model.n,
            "accuracy": 0.93 + 0.004 * seed,
            "macro_f1": 0.925 + 0.004 * seed,
            "batch_accuracy": 0.931 + 0.004 * seed,
            "batch_macro_f1": 0.871 + 0.004 * seed,
            "batch_size": 64,
            "depth_inside": 0.82 * model.blocks + 0.1 * seed if boxed else np.nan,
            "depth_outside": 0.43 * model.blocks if boxed else np.nan,
            "boxed": model.n - 20 if boxed else 0,
        }
        for seed in range(seeds)
        for split in ("valid", "test")
    ]
    return pd.DataFrame(rows)


def _settings(method: str) -> list[tuple[str, float, float, float, bool]]:
    """Setting, value, share of the GFLOPs, points lost, chosen."""
    if method == "avit":
        curve = [("eps", eps, 0.7 - 0.4 * eps, 0.008 + 0.15 * eps**2, False) for eps in EPS]
        ways = [("packed", 0.01, 0.71, 0.007, True), ("masked", 0.01, 1.0, 0.007, False)]
        return [*ways, *curve]
    name = "r" if method == "token_merging" else "keep"
    strength = {"r": lambda r: r / 14, "keep": lambda keep: 1.15 * (1 - keep)}[name]
    values = [(value, strength(value)) for value in RATIOS[name]]
    return [
        (
            name,
            value,
            1 - 0.72 * much,
            (0.1 if name == "r" else 0.14) * much**2,
            value == RATIOS[name][1],
        )
        for value, much in values
    ]


def points(
    experiment: str, seed: int, model: Model | None = None, latency: bool = True
) -> pd.DataFrame:
    """`operating_points.csv` of one adaptive run; the experiment's name begins with its method."""
    model = model or Model()
    method = next(value for key, value in METHODS.items() if experiment.startswith(key))
    generator = np.random.default_rng(90 + seed)
    rows = []
    # Two experiments of a method differ a little.
    worse = 0.002 * (len(experiment) % 3)
    noise = generator.normal(0, 0.001, 2)
    for setting, value, share, lost, chosen in _settings(method):
        took = _time_share(setting, share) + generator.normal(0, 0.004)
        for split, shift in zip(("valid", "test"), noise):
            accuracy = 0.95 - lost - worse + 0.004 * seed + shift
            row = {
                "experiment": experiment,
                "run": f"{experiment}-s{seed}",
                "seed": seed,
                "method": method,
                "setting": setting,
                "value": value,
                "split": split,
                "n": model.n,
                "accuracy": accuracy,
                "macro_f1": accuracy - 0.004,
                "gflops": model.gflops * share,
                "latency_ms": FULL_MS * took if latency else np.nan,
                "images_per_s": FULL_PER_S / took if latency else np.nan,
                "mean_depth": model.blocks * share,
                "latency_p95_ms": FULL_MS * took * 1.3 if latency else np.nan,
                "criterion": None,
                "threshold": np.nan,
                "chosen": chosen,
                "note": None,
            }
            rows.append(row)
    return pd.DataFrame(rows)


def _time_share(setting: str, share: float) -> float:
    return 1.06 if setting == "masked" else share + 0.06


def costs(table: pd.DataFrame, model: Model | None = None, latency: bool = True) -> pd.DataFrame:
    """`cost.csv` of the adaptive runs whose operating points are given, with `run` and `seed`."""
    model = model or Model()
    rows = []
    for (run, seed), own in table[table["split"] == "test"].groupby(["run", "seed"]):
        shares = {"full": ("full", 1.0)}
        for point in own.itertuples():
            if point.setting != "full" and pd.notna(point.value):
                exits = pd.notna(point.criterion)
                asked, above = (point.criterion, ">= ") if exits else (point.setting, "")
                name = f"{asked} {above}{point.threshold if exits else point.value:g}"
                shares[name] = (point.setting, point.gflops / model.gflops)
        for name, (setting, share) in shares.items():
            took = 1.0 if name == "full" else _time_share(setting, share)
            rows += _cost_rows(run, seed, name, share, took * (1 + 0.01 * seed), model, latency)
    return pd.DataFrame(rows)


def _cost_rows(
    run: str, seed: int, name: str, share: float, took: float, model: Model, latency: bool
) -> list[dict]:
    return [
        {
            "model": name,
            "batch_size": batch,
            "gflops": model.gflops * share,
            "latency_ms": FULL_MS * took if latency and batch == 1 else np.nan,
            "latency_p95_ms": FULL_MS * took * 1.3 if latency and batch == 1 else np.nan,
            "images_per_s": FULL_PER_S / took * (1 + batch / 200) if latency else np.nan,
            "params_m": 22.1,
            "peak_memory_mb": 900.0,
            "device": "cpu",
            "precision": "32-true",
            "threads": 2,
            "torch": "2.12.1",
            "call_ms": FULL_MS * took * batch if latency else np.nan,
            "call_p95_ms": FULL_MS * took * batch * 1.3 if latency else np.nan,
            "calls": 20,
            "run": run,
            "seed": seed,
        }
        for batch in BATCH_SIZES
    ]


def study(
    kept: dict[str, int | None],
    adaptive: list[str],
    seeds: int,
    latency: bool = True,
    model: Model | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Operating points, `summary.csv` and all `cost.csv` of a study.

    `kept` maps plain experiments to the blocks that they keep, `adaptive` names the others
    (`early…`, `avit…`, `merging…`, `pruning…`).
    """
    model = model or Model()
    found = [
        _early(model, name, seed, latency)
        if name.startswith("early")
        else points(name, seed, model, latency)
        for name in adaptive
        for seed in range(seeds)
    ]
    all_points = pd.concat(found, ignore_index=True) if found else points("avit", 0).iloc[:0]
    shares = {name: (blocks or model.blocks) / model.blocks for name, blocks in kept.items()}
    summary = figure_tables.summary(dict.fromkeys([*kept, *adaptive], 0.95), list(range(seeds)))
    share = summary["experiment"].map(shares).fillna(0.7)
    extra = {name: 0.001 * place for place, name in enumerate(kept)}
    lost = 0.5 * (1 - share) ** 2 + summary["experiment"].map(extra).fillna(0)
    table = summary.assign(
        accuracy=0.95 - lost + 0.004 * summary["seed"],
        macro_f1=0.946 - lost + 0.004 * summary["seed"],
        n=model.n,
        gflops=model.gflops * share,
        method=[METHODS.get(name, "fine_tune") for name in summary["experiment"]],
    )
    plain = [
        row
        for name, part in shares.items()
        for seed in range(seeds)
        for row in _cost_rows(
            f"{name}-s{seed}", seed, f"the {name} model", part, 0.05 + 0.95 * part, model, latency
        )
    ]
    timed = [pd.DataFrame(plain), costs(all_points, model, latency)]
    cost = pd.concat([table for table in timed if len(table)], ignore_index=True)
    return all_points, table, cost


def _early(model: Model, experiment: str, seed: int, latency: bool) -> pd.DataFrame:
    made = exit_tables.Model(list(range(1, model.blocks + 1)), gflops=model.gflops, n=model.n)
    table = exit_tables.points(made, seed, experiment, latency=latency)
    return table.assign(images_per_s=FULL_PER_S * FULL_MS / table["latency_ms"])

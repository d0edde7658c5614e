"""The figures of adaptive tokens: drawn from made-up tables, whole, legible, the same each time."""

import numpy as np
import pandas as pd
import pytest

from frugalvit.errors import DataError
from frugalvit.figures import style
from frugalvit.methods.avit.figures import avit_halting, avit_images, avit_losses, avit_tokens
from tests import figure_tables
from tests import token_tables as made
from tests.test_figures import drawn_texts, words

NAMES = {"study": "made_up", "experiment": "avit", "device": "cpu", "width_mm": 170}
SMALL = made.Model()
BASE = made.Model(blocks=12, side=16, classes=102, n=1020)
LARGE = made.Model(blocks=24, side=14, classes=2, n=50)
PHASES = [("head", 3), ("all", 9)]
SPLIT = figure_tables.assignments(["a", "b"], (6, 3, 4))
STUDIES = {
    "digits, three seeds": (SMALL, 3, {}),
    "102 classes, one seed": (BASE, 1, {}),
    "24 blocks, two classes, narrow": (LARGE, 2, {"boxes": False, "width": 140}),
    "wide": (SMALL, 2, {"width": 250, "rows": 2}),
}


def every_figure(
    model: made.Model, seeds: int, boxes: bool = True, width: float = 170, rows: int = 6
) -> dict:
    """All four figures of one made-up experiment."""
    names, runs = {**NAMES, "width_mm": width}, range(seeds)
    images = made.of_runs([made.depth_images(model, seed, boxes).head(rows) for seed in runs])
    history = made.of_runs(
        [made.history(seed, PHASES, stop=2 if seed == 1 else None) for seed in runs]
    )
    predictions = made.of_runs([made.predictions(model, seed) for seed in runs])
    halting = made.of_runs([made.halting(model, seed) for seed in runs])
    metrics = made.metrics(model, "avit", seeds, boxes)
    return {
        "avit_images": avit_images.draw(images, metrics, **names),
        "avit_halting": avit_halting.draw(halting, **names),
        "avit_tokens": avit_tokens.draw(predictions, **names),
        "avit_losses": avit_losses.draw(history, SPLIT, **names),
    }


def check_texts(name: str, figure) -> None:
    """Every text is on the page and none on another."""
    boxes = drawn_texts(figure)
    width, height = figure.get_size_inches() * 200
    texts, extents = list(boxes), np.array(list(boxes.values()))
    for text, (x0, y0, x1, y1) in boxes.items():
        where = f"{name}: {text.get_text()!r} leaves the page"
        assert x0 >= -1 and y0 >= -1 and x1 <= width + 1 and y1 <= height + 1, where
    # A box has a little room around its letters, more so above and below.
    slack = 0.18 * np.diff(extents[:, 1::2])[:, 0].min()
    low, high = extents[:, :2] + (1, slack), extents[:, 2:] - (1, slack)
    apart = (low[:, None] >= high[None]).any(axis=2)
    apart |= apart.T
    np.fill_diagonal(apart, True)
    pairs = [(texts[a].get_text(), texts[b].get_text()) for a, b in np.argwhere(~apart)]
    assert not pairs, f"{name}: texts overlap: {pairs[:3]}"


@pytest.mark.parametrize("study", STUDIES)
def test_texts_stay_on_the_page_and_apart(study):
    model, seeds, settings = STUDIES[study]
    for name, figure in every_figure(model, seeds, **settings).items():
        check_texts(name, figure)


def test_figures_state_n_seeds_and_device():
    for name, figure in every_figure(SMALL, 3, rows=2).items():
        text = " ".join(text.get_text() for text in figure.texts)
        assert "device: cpu" in text, name
        assert "images" in text, name
        assert ("1 seed (0)" if name == "avit_images" else "3 seeds (0, 1, 2)") in text, name


def test_files_are_the_same_every_time(tmp_path):
    for attempt in ("first", "second"):
        for name, figure in every_figure(SMALL, 2, rows=1).items():
            style.save(figure, [tmp_path / attempt / f"{name}.svg"], dpi=80)
    for first in sorted((tmp_path / "first").iterdir()):
        assert first.read_bytes() == (tmp_path / "second" / first.name).read_bytes(), first.name


def pictures(figure) -> list[np.ndarray]:
    """What the panels of images show, row by row."""
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def one_image(depths: str, **changes) -> pd.DataFrame:
    """A table of one image of 2 by 2 patches."""
    table = made.depth_images(made.Model(blocks=4, side=2), 0).head(1)
    return table.assign(run="avit-s0", seed=0, depths=depths, class_depth=3, **changes)


def test_depth_maps_by_hand():
    figure = avit_images.draw(one_image("1 3 3 2"), made.metrics(SMALL, "avit", 1), **NAMES)
    image, colours, dimmed, mask, masked = pictures(figure)[:5]
    image = image.astype(float)
    assert colours.shape[:2] == (2, 2)
    assert (colours[0, 1] == colours[1, 0]).all() and (colours[0, 0] != colours[1, 1]).any()
    assert mask[..., 0].tolist() == [[0, 1], [1, 0]]
    half = len(image) // 2
    shares = {(0, 0): 0.25, (0, 1): 0.75, (1, 0): 0.75, (1, 1): 0.5}
    for (row, column), share in shares.items():
        part = np.s_[row * half : (row + 1) * half, column * half : (column + 1) * half]
        assert np.allclose(dimmed[part], np.floor(image[part] * share))
        kept = (masked[part] == image[part]).all()
        assert kept == (share == 0.75)
        assert kept or len(np.unique(masked[part].reshape(-1, 3), axis=0)) == 1


def test_boxes_are_outlined_where_they_are():
    figure = avit_images.draw(
        one_image("1 3 3 2", box="0.1 0.2 0.3 0.4"), made.metrics(SMALL, "avit", 1), **NAMES
    )
    outlined = [axes for axes in figure.axes if axes.patches]
    assert len(outlined) == 2
    for axes in outlined:
        assert axes.patches[0].get_bbox().bounds == pytest.approx((0.1, 0.2, 0.3, 0.4))
        assert axes.get_xlim() == (0, 1) and axes.get_ylim() == (1, 0)
    unknown = one_image("1 3 3 2", box=np.nan)
    figure = avit_images.draw(unknown, made.metrics(SMALL, "avit", 1, False), **NAMES)
    assert not any(axes.patches for axes in figure.axes)
    assert "box" not in words(figure).lower()


def test_answers_and_depths_are_in_words():
    images = made.of_runs([made.depth_images(SMALL, seed) for seed in (0, 1)])
    text = words(avit_images.draw(images, made.metrics(SMALL, "avit", 2), **NAMES))
    assert "run avit-s0, the first of 2" in text
    assert text.count("✗ digit") == 1 and "✗ digit 5" in text
    assert "Mean depth inside the box 4.97 ± 0.07 blocks, outside 2.58" in text
    # The table holds every run of the study; another experiment's depths are not these.
    foreign = made.metrics(SMALL, "other", 2).assign(depth_inside=1.0)
    metrics = pd.concat([made.metrics(SMALL, "avit", 2), foreign])
    assert "Mean depth inside the box 4.97 ± 0.07 blocks" in words(
        avit_images.draw(images, metrics, **NAMES)
    )
    assert "340 test images, 2 runs" in text
    own = one_image("1 3 3 2", class_name=np.nan)
    text = words(avit_images.draw(own, made.metrics(SMALL, "avit", 1), **NAMES))
    assert "2.2 of 4 blocks" in text and "class 0" in text and "nan" not in text


def test_images_stand_in_the_order_of_position():
    images = made.of_runs([made.depth_images(SMALL, 0)]).sample(frac=1, random_state=1)
    figure = avit_images.draw(images, made.metrics(SMALL, "avit", 1), **NAMES)
    texts = {text.get_text(): text.get_position()[1] for text in figure.texts}
    heights = [texts[f"digit {label}"] for label in (0, 1, 2, 3)]
    assert heights == sorted(heights, reverse=True)


def test_bad_depths_and_pictures_are_named():
    metrics = made.metrics(SMALL, "avit", 1)
    with pytest.raises(DataError, match=r"avit-s0/depth_images\.csv: image test-000000: 3 depths"):
        avit_images.draw(one_image("1 3 3"), metrics, **NAMES)
    with pytest.raises(DataError, match=r"image test-000000: box '0\.1 0\.2' is not x y w h"):
        avit_images.draw(one_image("1 3 3 2", box="0.1 0.2"), metrics, **NAMES)
    with pytest.raises(DataError, match=r"image test-000000: not a base64"):
        avit_images.draw(one_image("1 3 3 2", image="none"), metrics, **NAMES)


def hand_halting() -> pd.DataFrame:
    """Three blocks, all in numbers that are easy to check."""
    table = pd.DataFrame({"block": [1, 2, 3], "split": "test", "n": 8})
    table = table.assign(halting=[0.25, 0.25, 0.5], tokens=[0.5, 0.25, 0.25], target=[0, 1.0, 0])
    return table.assign(run="avit-s0", seed=0)


def test_halting_by_hand():
    figure = avit_halting.draw(hand_halting(), **NAMES)
    text = words(figure)
    assert "halting: mean block 2.25" in text
    assert "target in training: mean block 2.00" in text
    assert "computed: 58.3 % of all tokens" in text and "mean depth 1.75 of 3 blocks" in text
    probability = next(a for a in figure.axes if "halt" in a.get_ylabel())
    tokens = next(a for a in figure.axes if "computed" in a.get_ylabel())
    assert [bar.get_height() for bar in probability.patches] == [25, 25, 50]
    heights = [bar.get_height() for bar in tokens.patches]
    assert heights == [100, 100, 100, 100, 50, 25]
    rules = [line.get_xdata()[0] for line in probability.lines if len(set(line.get_xdata())) == 1]
    assert rules == [2.25, 2]


def test_a_missing_target_is_left_out():
    text = words(avit_halting.draw(hand_halting().assign(target=np.nan), **NAMES))
    assert "target" not in text and "mean block 2.25" in text


def answers(tokens: list[float], right: list[bool]) -> pd.DataFrame:
    """Predictions of one run."""
    table = pd.DataFrame({"tokens": tokens, "label": 0, "predicted": [not one for one in right]})
    ids = [f"test-{number}" for number in range(len(table))]
    return table.assign(id=ids, split="test", run="avit-s0", seed=0).astype({"predicted": int})


def test_groups_of_tokens_by_hand():
    table = answers([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8], [True] * 4 + [True, False] * 2)
    found = avit_tokens.grouped(table, groups=2)
    assert found["n"].tolist() == [4, 4] and found["accuracy"].tolist() == [1, 0.5]
    assert found["tokens"].tolist() == pytest.approx([0.25, 0.65])
    # Wilson's interval of 2 of 4 and 4 of 4.
    assert found["least"].tolist() == pytest.approx([0.510, 0.150], abs=1e-3)
    assert found["most"].tolist() == pytest.approx([1.0, 0.850], abs=1e-3)
    assert avit_tokens.groups_text(found["images"]) == "2 groups of 4 images"
    assert avit_tokens.groups_text(pd.Series([3.0, 1051.0])) == "2 groups of 3 to 1,051 images"
    assert avit_tokens.groups_text(pd.Series([5])) == "all 5 images"
    twice = pd.concat([table, table.assign(run="avit-s1", seed=1)])
    assert avit_tokens.grouped(twice, groups=2)["least"].tolist() == found["least"].tolist()


def test_right_and_wrong_answers_are_told_apart():
    text = words(
        avit_tokens.draw(answers([0.2, 0.4, 0.9, 0.5], [True, True, False, True]), **NAMES)
    )
    assert "right answers (75.0 %) keep 36.7 % on average" in text
    assert "wrong answers (25.0 %) keep 90.0 % on average" in text
    assert "dashed: all, 75.0 %" in text


def test_images_that_all_keep_the_same_tokens_are_drawn():
    for value in (1.0, 0.0):
        figure = avit_tokens.draw(answers([value] * 5, [True] * 5), **NAMES)
        check_texts("same tokens", figure)
        assert "wrong answers (0.0 %)" in words(figure)


def panels_of(figure) -> dict[str, object]:
    """The panels of the losses by their heading, which stand in the same order."""
    headings = [text.get_text() for text in figure.texts]
    known = [panel.heading for panel in avit_losses.PANELS if panel.heading in headings]
    return dict(zip(known, figure.axes, strict=True))


def test_losses_are_drawn_as_recorded():
    history = made.of_runs([made.history(seed, PHASES, distillation=True) for seed in (0, 1)])
    panels = panels_of(avit_losses.draw(history, SPLIT, **NAMES))
    assert list(panels) == [panel.heading for panel in avit_losses.PANELS]
    column = history.pivot(index="epoch", columns="run", values="valid_ponder")
    line = panels["ponder loss (blocks)"].lines[-2]
    known = column.mean(axis=1).dropna()  # only the head trains before, and no token halts
    assert np.allclose(line.get_ydata(), known)
    assert np.allclose(line.get_xdata(), known.index)
    percents = history.groupby("epoch")["valid_macro_f1"].mean() * 100
    assert np.allclose(panels["macro-F1 (%)"].lines[-2].get_ydata(), percents)


def test_what_was_not_recorded_has_no_panel():
    history = made.of_runs([made.history(0, PHASES).assign(alpha_ponder=np.nan)])
    figure = avit_losses.draw(history, SPLIT, **NAMES)
    assert "distillation loss" not in panels_of(figure)
    assert "weight of the ponder loss" not in panels_of(figure)
    assert "halting was off" in words(figure)
    plain = made.of_runs([made.history(0, [("all", 4)])])
    assert "halting was off" not in words(avit_losses.draw(plain, SPLIT, **NAMES))


def test_nothing_to_draw_is_said():
    images = made.of_runs([made.depth_images(SMALL, 0)]).iloc[:0]
    metrics = made.metrics(SMALL, "avit", 1)
    assert "no depth maps were saved" in words(avit_images.draw(images, metrics, **NAMES))
    halting = made.of_runs([made.halting(SMALL, 0)]).query("split == 'train'")
    assert "no test images" in words(avit_halting.draw(halting, **NAMES))
    predictions = made.of_runs([made.predictions(SMALL, 0)]).query("split == 'train'")
    assert "no test images" in words(avit_tokens.draw(predictions, **NAMES))


def test_validation_stands_in_where_nothing_is_tested():
    halting = made.of_runs([made.halting(SMALL, 0)]).query("split == 'valid'")
    assert "360 validation images" in words(avit_halting.draw(halting, **NAMES))

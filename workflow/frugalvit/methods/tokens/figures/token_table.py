"""Adaptive tokens and their rivals in numbers: accuracy, depth, operations, measured time, as HTML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd

from frugalvit.figures import comparison, schedules, tables
from frugalvit.figures.about import About
from frugalvit.figures.comparison import is_masked
from frugalvit.figures.looks import OTHER, Looks, MethodLook, read_looks
from frugalvit.figures.shares import share_of_plain
from frugalvit.figures.style import DASH
from frugalvit.operating_point import FULL, Point, is_chosen, point_of, points_of

POINT_COLUMNS = (*comparison.POINT_COLUMNS, "threshold")
METRICS_COLUMNS = ("run", "split", "batch_accuracy", "batch_macro_f1", "batch_size")
NEEDS = {
    "summary": comparison.SUMMARY_COLUMNS,
    "all_points": POINT_COLUMNS,
    "costs": comparison.COST_COLUMNS,
    "metrics": METRICS_COLUMNS,
}
# How tokens that have left are treated, where a setting says it.
WAYS = {"packed": "packed: halted tokens removed", "masked": "masked: all computed"}
TIMES = "\N{MULTIPLICATION SIGN}"
STYLE = """
body { font: 14px/1.5 system-ui, "DejaVu Sans", sans-serif; color: #1a1a1a; margin: 24px; }
h1 { font-size: 18px; margin: 0 0 4px; }
p { max-width: 90ch; color: #444; margin: 4px 0 12px; }
table { border-collapse: collapse; }
th, td { padding: 4px 9px; text-align: right; white-space: nowrap; border-bottom: 1px solid #ddd; }
th { white-space: normal; vertical-align: bottom; border-bottom: 2px solid #444; font-weight: 600; }
th.group { text-align: center; border-bottom: 1px solid #bbb; }
th.text, td.text { text-align: left; }
tr.first td { border-top: 2px solid #bbb; }
tr.used td { font-weight: 600; background: #eef4fa; }
tr.beside td { color: #666; }
td small { color: #666; font-weight: 400; }
"""


@dataclass(frozen=True)
class Row:
    """One way to run an experiment's models; `answers` and `times` have a row a run."""

    experiment: str
    words: str
    answers: pd.DataFrame  # accuracy, macro_f1, mean_depth, gflops, batch_*; empty where beside
    times: pd.DataFrame  # rows of the cost tables, as `with_full` gives them
    look: str = ""  # class of the HTML row


def plot(given: Mapping[str, pd.DataFrame], about: About) -> str:
    """See `figures.plotting`."""
    return draw(
        given["all_points"],
        given["summary"],
        given["costs"],
        given["metrics"],
        study=about.study,
        experiments=about.options["listed"]["token_table"],
        looks=read_looks(about.options["methods"]),
    )


def draw(
    points: pd.DataFrame,
    summary: pd.DataFrame,
    costs: pd.DataFrame,
    metrics: pd.DataFrame,
    *,
    study: str,
    experiments: Sequence[str],
    looks: Looks,
) -> str:
    """A whole HTML page: a row for each way to run each experiment, in the order given.

    Of an adaptive experiment the point in use, the same only masked, and the full model timed
    beside it; of another, its own network. Means over seeds, standard deviations with n - 1.

    Args:
        points: `POINT_COLUMNS` of all adaptive runs; may be empty.
        summary: `comparison.SUMMARY_COLUMNS`.
        costs: `comparison.COST_COLUMNS` and `run`, of all runs.
        metrics: `METRICS_COLUMNS`; runs may be absent.
        study: its name.
        experiments: to show.
        looks: of their methods.
    """
    split, own = tables.shown_split(summary[summary["experiment"].isin(list(experiments))])
    rows = [
        row
        for name in experiments
        for row in rows_of(
            points[(points["experiment"] == name) & (points["split"] == split)],
            schedules.compared_runs(own, [name]),
            costs,
            metrics[metrics["split"] == split],
            (name, looks),
        )
    ]
    batches = sorted({int(size) for row in rows for size in row.times["batch_size"].unique()})
    body = []
    for number, row in enumerate(rows):
        first = number == 0 or rows[number - 1].experiment != row.experiment
        body.append(html_row(row, batches, first))
    title = f"{study}: adaptive tokens and their rivals"
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(title)}</title>"
        f"<style>{STYLE}</style><h1>{escape(title)}</h1>"
        f"<p>{escape(caption(own, costs, metrics, rows, split))}</p>"
        f"<table><thead>{header(batches)}</thead><tbody>{''.join(body)}</tbody></table></html>\n"
    )


def rows_of(
    points: pd.DataFrame,
    runs: pd.DataFrame,
    costs: pd.DataFrame,
    metrics: pd.DataFrame,
    of: tuple[str, Looks],
) -> list[Row]:
    """The rows of one experiment, from its operating points or its runs; none if it has no results.

    `of` is its name, and the looks of all methods.
    """
    experiment, looks = of
    if points.empty and runs.empty:
        return []
    if points.empty:
        of_runs = costs[costs["run"].isin(runs["run"])]
        first = of_runs["model"] == of_runs.groupby("run")["model"].transform("first")
        times = with_full(of_runs[first], of_runs.iloc[:0])
        answers = with_batches(runs.assign(gflops=single_gflops(times, runs["run"])), metrics)
        return [Row(experiment, "plain model", answers, times)]
    of_runs = costs[costs["run"].isin(points["run"])]
    full = of_runs[of_runs["model"] == FULL]
    method = looks.get(points["method"].iloc[0], OTHER)
    masked = is_masked(points, looks)
    rows = []
    for wanted, look in ((is_chosen(points) & ~masked, "used"), (masked, "")):
        answers = with_share(points[wanted], full)
        if len(answers):
            times = with_full(times_of(answers, of_runs), full)
            words = way(point_of(answers.iloc[0]), method)
            rows.append(Row(experiment, words, with_batches(answers, metrics), times, look))
    if len(full):
        counted = full[full["batch_size"] == 1].drop_duplicates("run")[["run", "gflops"]]
        words, counted = "plain model, timed beside", with_share(counted, full)
        rows.append(Row(experiment, words, counted, with_full(full, full), "beside"))
    return rows


def way(point: Point, look: MethodLook) -> str:
    """An operating point in words: 'packed: halted tokens removed, eps 0.01', 'r 4', 'budget 0.5'."""
    named = look.words_of(point)
    return f"{WAYS[point.setting]}, {named}" if point.setting in WAYS else named


def times_of(answers: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """Rows of the cost tables that are of the runs' operating points."""
    return pd.concat(
        costs[(costs["run"] == run) & (costs["model"] == point.model)]
        for run, point in zip(answers["run"], points_of(answers))
    )


def with_full(times: pd.DataFrame, full: pd.DataFrame) -> pd.DataFrame:
    """`times` with `speed_up`, images/s over the full model's of the same run and batch size."""
    keys = ["run", "batch_size"]
    beside = full.drop_duplicates(keys).set_index(keys)["images_per_s"].rename("beside")
    joined = times.join(beside, on=keys)
    speed_up = share_of_plain(joined["images_per_s"], joined["beside"])
    return joined.drop(columns="beside").assign(speed_up=speed_up)


def with_share(answers: pd.DataFrame, full: pd.DataFrame) -> pd.DataFrame:
    """`answers` with `share`, their GFLOPs over those of the full model of the same run."""
    beside = full.drop_duplicates("run").set_index("run")["gflops"]
    return answers.assign(share=share_of_plain(answers["gflops"], answers["run"].map(beside)))


def single_gflops(times: pd.DataFrame, runs: pd.Series) -> list[float]:
    """GFLOPs per image of each run's model."""
    return list(times.drop_duplicates("run").set_index("run")["gflops"].reindex(runs))


def with_batches(answers: pd.DataFrame, metrics: pd.DataFrame) -> pd.DataFrame:
    """`answers` with the runs' averages over batches."""
    found = metrics.drop_duplicates("run").set_index("run")
    return answers.join(found[["batch_accuracy", "batch_macro_f1"]], on="run")


def caption(
    summary: pd.DataFrame,
    costs: pd.DataFrame,
    metrics: pd.DataFrame,
    rows: list[Row],
    split: str,
) -> str:
    """What the numbers are of: images, seeds, device, threads; and what each is."""
    runs = {run for row in rows for run in row.answers["run"]}
    timed = costs[costs["run"].isin(runs)]
    machine = sorted(timed["device"].dropna().unique())
    threads = sorted({int(count) for count in timed["threads"].dropna()})
    sizes = sorted({int(n) for n in summary["n"].dropna()})
    text = " or ".join(tables.images_text(size, split) for size in sizes)
    text += f"; {tables.seeds_text(summary['seed'])}. " if len(summary) else ". "
    text += f"Timed on {', '.join(machine)}" if machine else "Times were not measured"
    told = any("thread" in name for name in machine)  # a CPU's name tells its threads
    text += (
        f", {' or '.join(map(str, threads))} threads" if threads and machine and not told else ""
    )
    text += ". Mean over seeds ± standard deviation. "
    batch = sorted({int(size) for size in metrics["batch_size"].dropna()})
    if batch:
        text += (
            f"Mean of per-batch macro averages (as the source reported): batches of"
            f" {' or '.join(map(str, batch))}; they are no averages of the data set. "
        )
    return text + (
        "GFLOPs per image, one multiply-add as 2. Time of a call: median and 95th percentile."
        f" {TIMES}: images/s over those of the full model, measured beside it in one process."
    )


def header(batches: Sequence[int]) -> str:
    """Two rows of headings."""
    groups = (
        ("", 3),
        ("whole data set, %", 2),
        ("mean of per-batch macro averages, %", 2),
        ("cost of an image", 3),
        ("median time of a call (and 95th percentile), ms", len(batches)),
        ("images a second, by batch size", len(batches)),
    )
    names = ["experiment", "model", "seeds", "top-1", "macro-F1", "accuracy", "F1"]
    calls = [f"{size} image{'' if size == 1 else 's'}" for size in batches]
    names += ["mean token depth, blocks", "GFLOPs", "% of full", *calls, *map(str, batches)]
    above = "".join(
        f"<th class='group' colspan='{span}'>{name}</th>" for name, span in groups if span
    )
    cells = (f"<th{_text(n)}>{escape(name)}</th>" for n, name in enumerate(names))
    return f"<tr>{above}</tr><tr>{''.join(cells)}</tr>"


def _text(column: int) -> str:
    return " class='text'" if column < 2 else ""


def html_row(row: Row, batches: Sequence[int], first: bool) -> str:
    """One row; the experiment's name stands in the first of its rows."""
    cells = [
        escape(row.experiment) if first else "",
        escape(row.words),
        str(row.answers["run"].nunique()),
        *(
            number(column(row.answers, name) * 100, 1)
            for name in ("accuracy", "macro_f1", "batch_accuracy", "batch_macro_f1")
        ),
        number(column(row.answers, "mean_depth"), 2),
        number(column(row.answers, "gflops"), 3, significant=True),
        number(column(row.answers, "share") * 100, 1),
    ]
    for size in batches:
        timed = row.times[row.times["batch_size"] == size]
        slow = number(column(timed, "call_p95_ms"), 1, plain=True)
        slow = "" if slow == DASH else f" <small>({slow})</small>"
        cells.append(number(column(timed, "call_ms"), 1, plain=True) + slow)
    for size in batches:
        timed = row.times[row.times["batch_size"] == size]
        ratio = number(timed["speed_up"], 2)
        ratio = "" if ratio == DASH else f" <small>{TIMES}{ratio}</small>"
        cells.append(number(timed["images_per_s"], 1) + ratio)
    look = " ".join(name for name in (row.look, "first" if first else "") if name)
    data = "".join(f"<td{_text(n)}>{cell}</td>" for n, cell in enumerate(cells))
    return f"<tr class='{look}'>{data}</tr>" if look else f"<tr>{data}</tr>"


def column(table: pd.DataFrame, name: str) -> pd.Series:
    """A column as numbers, empty where the table lacks it."""
    return table[name].astype(float) if name in table else pd.Series(dtype=float)


def number(values: pd.Series, digits: int, significant: bool = False, plain: bool = False) -> str:
    """'93.4 ± 0.4' of the runs' values, `plain` without the spread; a dash where there is none."""
    values = values.dropna()
    if values.empty:
        return DASH
    kind = "g" if significant else "f"
    text = f"{values.mean():{'#' if significant else ''}.{digits}{kind}}"
    # What every run has in common, such as operations, needs no spread.
    varies = not plain and len(values) > 1 and values.std() > 1e-9 * abs(values.mean())
    return f"{text} ± {values.std():.{digits}{kind}}" if varies else text

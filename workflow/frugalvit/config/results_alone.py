"""A clone that holds a study's tables, and nothing to compute them anew with."""

from pathlib import Path

from frugalvit.config.study import Study


def holds_results_only(study: Study, folder: Path) -> bool:
    """Whether `folder` has a study's summary, but neither its images nor any weights.

    So looks a fresh clone that holds the committed CSV files of a study.
    """
    results = folder / "results" / study.name
    return (
        (results / "summary.csv").exists()
        and not (folder / "data" / study.dataset / "store" / "index.csv").exists()
        and not any(results.rglob("*.safetensors"))
    )

"""One figure (or HTML table) of the report, as rules and the plotting job know it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A figure: its module draws it, its caption has its name.

    Attributes:
        name: of its files, `{name}-{experiment}.svg`, and of its caption.
        module: dotted; has `plot(tables, about)`, see `figures.plotting`.
        needs: names of the tables that it reads, of `figures.inputs`.
        label: in the report; the name in words where empty.
    """

    name: str
    module: str
    needs: tuple[str, ...]
    label: str = ""

"""One figure (or HTML page) of the report, as rules and the plotting job know it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """A figure: its module draws it, its caption has its name.

    Attributes:
        name: of its files, `{name}-{experiment}.svg`, and of its caption.
        module: dotted; has `NEEDS` and `plot(given, about)`, see `figures.plotting`.
        needs: names of the tables that it reads, of `figures.inputs` or of its method's own.
        label: in the report; the name in words where empty.
        spared: those of its tables that it can be drawn without, where they were not kept.
        page: file under the study's results, where it is an HTML page and no picture.
    """

    name: str
    module: str
    needs: tuple[str, ...]
    label: str = ""
    page: str = ""
    spared: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """How the report calls it."""
        return self.label or self.name.replace("_", " ")

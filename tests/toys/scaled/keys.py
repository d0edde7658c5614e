"""Keys of the toy method."""

from frugalvit.methods.scaled.figures import FIGURES

from frugalvit.methods.method import Look, Method

METHOD = Method(
    title="Scaled logits",
    look=Look("scaled logits", "scaled", "v", "#333333"),
    training=lambda raw: {"first_scale": raw["first_scale"]},
    head_phases=("heads", "scale"),
    shape=("first_scale",),
    tables={"scales": "scales.csv"},
    figures=FIGURES,
)

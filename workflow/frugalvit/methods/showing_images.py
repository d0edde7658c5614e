"""Single images drawn with a run's answers: as its method shows them, or in a gallery."""

from dataclasses import replace

from matplotlib.figure import Figure

from frugalvit.data.batches import ImageSet
from frugalvit.figures import answers_gallery
from frugalvit.figures.about import About
from frugalvit.methods import registry
from frugalvit.methods.method import Answered
from frugalvit.methods.predictor import Predictor
from frugalvit.methods.tested_again import predicted


def draw(
    predictor: Predictor, split: str, answered: Answered, images: ImageSet, about: About
) -> Figure:
    """The figure of images of one split and the run's answers to them."""
    table = predicted(predictor, about.experiment, split, answered, images)
    method = predictor.card["method"]
    if registry.has(method, "showing"):
        blocks = predictor.card["architecture"]["num_layers"]
        about = replace(about, options={"blocks": blocks})
        return registry.part(method, "showing").figure(table, answered, images, about)
    pictures = list(images.pictures(range(len(images))))
    return answers_gallery.draw(table, pictures, predictor.classes, list(answered.columns), about)

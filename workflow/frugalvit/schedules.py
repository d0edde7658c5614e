"""Words of a schedule that the configuration and the training loop share."""

# Phases that leave the backbone as it is: `head`, the classifier of a plain model; `heads`, every
# exit's head and the model's own; `exits`, the exits' heads alone.
HEADS = ("head", "heads", "exits")

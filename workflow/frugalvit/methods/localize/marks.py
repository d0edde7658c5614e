"""What counts as a box that is found: marks of the IoU, for measures and figures alike."""

SHARES = {"iou_50": 0.50, "iou_75": 0.75, "iou_90": 0.90}  # measure -> least IoU
MEASURES = ("mean_iou", *SHARES, "joint")
JOINT = 0.5  # IoU from which a box counts as found, beside a class that is right

"""Whatever an export says: nothing outside of it is read, and no box lies outside its image."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from frugalvit.data.sources.exports import inside
from frugalvit.data.sources.listing import listed
from tests.exports import GOOD, export, yolo
from tests.properties import examples


@examples(200)
@given(st.text(alphabet="ab./\\:C~ \0", max_size=30))
def test_no_path_leads_out_of_the_export(tmp_path_factory, text):
    root = tmp_path_factory.getbasetemp() / "inside" / "a"
    root.mkdir(parents=True, exist_ok=True)
    place = inside([root], text, Path.is_dir)
    assert place is None or place.resolve().is_relative_to(root.resolve())


@examples(60)
@given(st.binary(max_size=80) | st.text(alphabet="01 .\n-e5naif", max_size=40).map(str.encode))
def test_any_bytes_are_boxes_within_the_image_or_one_line(tmp_path_factory, content):
    root = export(tmp_path_factory.getbasetemp() / "any", {"train/a": content, "train/b": GOOD})
    listing = listed(yolo(root, skip_bad_images=True), root)
    for fault in listing.faults:
        assert "\n" not in fault["error"]
        assert len(fault["error"]) < 300
    for item in listing.items:
        left, top, right, bottom = item.box
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1
    assert len(listing.items) + len(listing.faults) + len(listing.annotations.unlabelled) == 2

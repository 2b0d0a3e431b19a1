from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from etle.errors import EvidenceError
from etle.evidence.thumbnail import Thumbnails


def _picture(path: Path, size: tuple[int, int], left: str, right: str) -> Path:
    picture = Image.new("RGB", size, right)
    picture.paste(left, (0, 0, size[0] // 2, size[1]))
    picture.save(path)
    return path


@pytest.mark.parametrize(
    ("size", "small"), [((1920, 1080), (320, 180)), ((1000, 2000), (90, 180)), ((64, 48), (64, 48))]
)
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_small_picture_shows_the_same(
    tmp_path: Path, size: tuple[int, int], small: tuple[int, int], suffix: str
) -> None:
    made = Thumbnails().get(_picture(tmp_path / f"a{suffix}", size, "red", "blue"), "a")
    with Image.open(BytesIO(made)) as picture:
        assert (picture.format, picture.size) == ("JPEG", small)
        left, right = picture.getpixel((small[0] // 4, small[1] // 2)), picture.getpixel((3 * small[0] // 4, 1))
    assert isinstance(left, tuple)
    assert isinstance(right, tuple)
    assert left[0] > 200 > 100 > left[2]
    assert right[2] > 200 > 100 > right[0]


def test_the_latest_are_kept_by_their_hash(tmp_path: Path) -> None:
    kept = Thumbnails(kept=2)
    first = _picture(tmp_path / "a.png", (40, 40), "red", "red")
    made = kept.get(first, "1")
    _picture(first, (40, 40), "blue", "blue")
    assert kept.get(first, "1") == made
    kept.get(first, "2")
    kept.get(first, "1")
    kept.get(first, "3")
    assert kept.get(first, "1") == made  # the one that was not asked for made room
    assert kept.get(first, "2") != made


def test_what_is_no_picture_is_told(tmp_path: Path) -> None:
    for content in (b"", b"no picture", _picture(tmp_path / "a.jpg", (640, 480), "red", "blue").read_bytes()[:300]):
        path = tmp_path / "broken.jpg"
        path.write_bytes(content)
        with pytest.raises(EvidenceError, match="cannot be read"):
            Thumbnails().get(path, "x")

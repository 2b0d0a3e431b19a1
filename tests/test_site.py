from pathlib import Path

import pytest
import yaml

from etle.errors import ExitCode, SiteError
from etle.site import load_site, require_image_size


@pytest.fixture
def document(repository: Path) -> dict:
    return yaml.safe_load((repository / "tests/data/sites/rendered_junction.yaml").read_text())


def load(tmp_path: Path, document: object):
    path = tmp_path / "site.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return load_site(path)


def test_the_sites_in_the_repository_load(repository: Path) -> None:
    for path in sorted((repository / "tests/data/sites").glob("*.yaml")):
        loaded = load_site(path)
        assert len(loaded.sha256) == 64
        assert loaded.site.zone.key == loaded.site.time_zone


def set_(document: dict, path: str, value: object) -> None:
    *parents, last = path.split(".")
    for part in parents:
        document = document[int(part)] if isinstance(document, list) else document[part]
    if isinstance(document, list):
        document[int(last)] = value
    else:
        document[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("colour", "red", "colour: unknown key"),
        ("camera.heigth_m", 5, "unknown key"),
        ("camera.height_m", -1, "greater than"),
        ("camera.height_m", float("nan"), "finite"),
        ("speed.limit_kmh", 900, "less than or equal"),
        ("time_zone", "Asia/Jambi", "not an IANA time zone"),
        ("signal_heads.0.box_px", [10, 10, 11, 30], "at least 4 x 4"),
        ("signal_heads.0.box_px", [1200, 10, 1400, 90], "outside the 1280x720"),
        ("lanes.0.signal_head", "other", "not in signal_heads"),
        ("lanes.1.id", "1", "share an id"),
        ("red_light.stop_line_m", [[0, 0], [0, 0]], "0.1 m apart"),
        ("red_light.stop_line_m", [[-4.8, -16], [-4.8, -2]], "runs along lane 1"),
        ("speed.zone_m", [[0, 0], [1, 1], [2, 2]], "less than 1 m"),
        ("calibration.points", [{"px": [0, 0], "m": [0, 0]}] * 3, "3 calibration points; a homography needs"),
        (
            "calibration.points",
            [{"px": [100 * i, 300 + 10 * i], "m": [i, 2 * i]} for i in range(6)],
            "collinear in `m`",
        ),
        (
            "calibration.points",
            [{"px": [100 * i, 50 * i], "m": [i, i * i]} for i in range(6)],
            "collinear in `px`",
        ),
        ("schema", "etle.site/9", "schema"),
        ("clock", None, "clock"),
    ],
)
def test_bad_fields_are_named_in_one_line(
    tmp_path: Path, document: dict, path: str, value: object, message: str
) -> None:
    set_(document, path, value)
    with pytest.raises(SiteError) as caught:
        load(tmp_path, document)
    text = str(caught.value)
    assert message in text
    assert "\n" not in text
    assert "site.yaml" in text
    assert caught.value.exit_code is ExitCode.BAD_INPUT


def test_three_points_on_a_line_among_four_is_refused(tmp_path: Path, document: dict) -> None:
    document["calibration"]["points"] = [
        {"px": [100, 100], "m": [0, 0]},
        {"px": [300, 100], "m": [1, 0]},
        {"px": [500, 100], "m": [2, 0]},
        {"px": [300, 500], "m": [1, 3]},
    ]
    with pytest.raises(SiteError, match="collinear"):
        load(tmp_path, document)


def test_many_points_are_checked_quickly(tmp_path: Path, document: dict) -> None:
    import math

    document["calibration"]["points"] = [
        {
            "px": [600 + 300 * math.cos(i / 10), 300 + 200 * math.sin(i / 10)],
            "m": [9 * math.cos(i / 10), 9 * math.sin(i / 10)],
        }
        for i in range(60)
    ]
    assert len(load(tmp_path, document).site.calibration.points) == 60


@pytest.mark.parametrize("content", ["- 1\n- 2\n", "a: [", "", "\x00\x01"])
def test_what_is_not_a_site_file(tmp_path: Path, content: str) -> None:
    with pytest.raises(SiteError) as caught:
        load(tmp_path, content)
    assert "\n" not in str(caught.value)


def test_missing_directory_and_binary(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="no such site file"):
        load_site(tmp_path / "nowhere.yaml")
    with pytest.raises(SiteError, match="not a file"):
        load_site(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SiteError, match="not valid YAML"):
        load_site(tmp_path / "b.yaml")


def test_another_picture_size_is_refused(repository: Path) -> None:
    site = load_site(repository / "tests/data/sites/rendered_junction.yaml").site
    require_image_size(site, 1280, 720, where="a.mp4")
    with pytest.raises(SiteError, match="640x480 but site rendered-junction was calibrated at 1280x720"):
        require_image_size(site, 640, 480, where="a.mp4")


def test_every_field_is_described() -> None:
    from etle.site import Site

    def fields(schema: dict, name: str):
        for field, content in schema.get("properties", {}).items():
            yield f"{name}.{field}", content

    schema = Site.model_json_schema()
    missing = [
        path
        for name, part in {"Site": schema, **schema["$defs"]}.items()
        for path, content in fields(part, name)
        if not content.get("description")
    ]
    assert missing == []

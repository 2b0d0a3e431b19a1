"""Importing a register: good rows in, bad rows told, nothing half done."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from etle.cli import app
from etle.register.importing import import_csv
from etle.register.local import SqliteRegister
from etle.register.records import RegisterError, RegisterInputError

HEADING = (
    "nopol,jenis,merk,tipe,warna,nama_pemilik,alamat,no_rangka,no_mesin,tahun,warna_tnkb,email,telepon,"
    "berlaku_sampai,status"
)
GOOD = (
    'BH 1207 RR,MOBIL PENUMPANG,Toyota,Avanza 1.3 G,Hitam,CONTOH PEMILIK,"Jl. Contoh 1, RT 02 | Jambi 36122",'
    "MHF 12345,EN1,2019,PUTIH,a@example.org,0811,30-11-2028,aktif"
)
BAD = (
    ("BH 0207 RR", "nopol", "plate", "not a plate"),
    ("", "nopol", "plate", "empty"),
    ("PESAWAT", "jenis", "class", "unknown class"),
    ("", "merk", "make", "empty"),
    ("", "nama_pemilik", "owner_name", "empty"),
    (" | ", "alamat", "owner_address", "empty"),
    ("12", "no_rangka", "chassis_number", "not 5 to 30 letters and digits"),
    ("219", "tahun", "year", "not a year"),
    ("31-02-2027", "berlaku_sampai", "valid_until", "not a date"),
    ("terbang", "status", "status", "unknown status"),
    ("a\x07b", "tipe", "row", "a value is too long or holds control characters"),
    ("x" * 301, "tipe", "row", "a value is too long or holds control characters"),
)


def write(path: Path, *rows: str, heading: str = HEADING) -> Path:
    path.write_text("\n".join((heading, *rows)) + "\n", "utf-8")
    return path


def plates(count: int) -> list[str]:
    return [GOOD.replace("BH 1207 RR", f"BH {number} AB") for number in range(1, count + 1)]


def altered(value: str, column: str) -> str:
    row = next(csv.reader([GOOD]))
    row[HEADING.split(",").index(column)] = value
    return ",".join(f'"{one}"' for one in row)


def test_a_row_becomes_a_vehicle(tmp_path: Path) -> None:
    file = tmp_path / "register.db"
    report = import_csv(write(tmp_path / "v.csv", GOOD), file)
    assert (report.rows, report.vehicles, report.bad, report.published) == (1, 1, 0, True)
    found = SqliteRegister(file).lookup("bh1207rr")
    assert found is not None
    assert (found.plate, found.vehicle_class, found.make, found.chassis_tail) == (
        "BH 1207 RR",
        "car",
        "TOYOTA",
        "12345",
    )
    assert found.owner_address == ("Jl. Contoh 1, RT 02", "Jambi 36122")
    assert str(found.valid_until) == "2028-11-30"
    assert SqliteRegister(file).lookup("BH 1208 RR") is None
    assert SqliteRegister(file).name.startswith("register.db, imported 20")
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("value", "column", "field", "why"), BAD)
def test_each_kind_of_bad_row_is_told_with_its_line(
    tmp_path: Path, value: str, column: str, field: str, why: str
) -> None:
    listed = tmp_path / "bad.csv"
    report = import_csv(
        write(tmp_path / "v.csv", *plates(30), altered(value, column)), tmp_path / "r.db", report=listed
    )
    assert (report.vehicles, report.bad) == (30, 1)
    assert report.examples == ((32, field, why),)
    assert listed.read_text("utf-8").splitlines() == ["line,field,why", f"32,{field},{why}"]


def test_doubled_plates_torn_rows_and_stray_quotes(tmp_path: Path) -> None:
    rows = [*plates(60), "BH 5 AB,too,few", plates(3)[2].replace("BH 3 AB", "bh-3-ab"), 'BH 7 AC,"MOBIL"x,a,b']
    report = import_csv(write(tmp_path / "v.csv", *rows), tmp_path / "r.db")
    assert report.vehicles == 60
    assert report.bad == 3
    assert report.reasons["plate: given before in this file"] == 1
    assert report.reasons["row: 3 columns instead of 15"] == 1
    assert any(reason.startswith("row: not CSV") for reason in report.reasons)


def test_a_dry_run_and_a_refused_file_change_nothing(tmp_path: Path) -> None:
    file = tmp_path / "register.db"
    import_csv(write(tmp_path / "v.csv", *plates(5)), file)
    before = file.read_bytes()
    report = import_csv(write(tmp_path / "w.csv", *plates(9)), file, dry_run=True)
    assert (report.vehicles, report.published) == (9, False)
    with pytest.raises(RegisterInputError, match="2 of 5 rows are bad, more than 5%; the first in line 5: plate"):
        import_csv(write(tmp_path / "x.csv", *plates(3), "BH 0 A" + GOOD[10:], GOOD.replace("MOBIL", "KAPAL")), file)
    assert file.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["register.db", "v.csv", "w.csv", "x.csv"]


def test_update_keeps_what_the_file_does_not_name(tmp_path: Path) -> None:
    file = tmp_path / "register.db"
    import_csv(write(tmp_path / "v.csv", *plates(5)), file)
    changed = plates(2)[1].replace("CONTOH PEMILIK", "PEMILIK BARU")
    import_csv(write(tmp_path / "w.csv", changed, GOOD), file, update=True)
    register = SqliteRegister(file)
    assert register.count() == 6
    second = register.lookup("BH 2 AB")
    assert second is not None
    assert second.owner_name == "PEMILIK BARU"
    import_csv(write(tmp_path / "x.csv", GOOD), file)
    assert register.count() == 1


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty file"),
        (b"nopol,jenis\n", "no column make and owner_name and owner_address"),
        (HEADING.encode() + b"\n", "no rows"),
        (HEADING.encode() + b"\n\xff\xfe\n", "not UTF-8"),
        (None, "cannot be read"),
    ],
)
def test_a_useless_file_is_one_clear_line(tmp_path: Path, content: bytes | None, what: str) -> None:
    source = tmp_path / "v.csv"
    if content is not None:
        source.write_bytes(content)
    with pytest.raises(RegisterInputError, match=what) as refused:
        import_csv(source, tmp_path / "r.db")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "r.db").exists()


def test_semicolons_and_a_byte_order_mark(tmp_path: Path) -> None:
    source = tmp_path / "v.csv"
    source.write_bytes("\ufeffPlate;Class;Make;Owner name;Owner address\nB 1 A;bus;HINO;X;Y\n".encode())
    assert import_csv(source, tmp_path / "r.db").vehicles == 1


def test_no_register_is_said(tmp_path: Path) -> None:
    with pytest.raises(RegisterError, match="etle register import"):
        SqliteRegister(tmp_path / "none.db").lookup("B 1 A")


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from etle.settings import get_settings

    monkeypatch.setenv("ETLE_DATA_DIR", str(tmp_path / "data"))
    get_settings.cache_clear()
    source = write(tmp_path / "v.csv", *plates(30), altered("", "merk"))
    run = CliRunner().invoke
    dry = run(app, ["register", "import", str(source), "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert "line 32: make: empty" in dry.output
    assert "nothing was changed" in dry.output
    assert not (tmp_path / "data" / "register.db").exists()
    done = run(app, ["register", "import", str(source), "--json"])
    assert json.loads(done.output) == {
        "rows": 31, "vehicles": 30, "bad": 1, "reasons": {"make: empty": 1}, "published": True,
    }  # fmt: skip
    get_settings.cache_clear()

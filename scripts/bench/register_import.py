"""How long a register of a million vehicles takes to import, and how much memory.

python -m scripts.bench.register_import [ROWS] [--dry-run]

Rows are made up; one in a thousand is bad in one of nine ways. Prints processor and wall time, the peak of resident
memory of the importing process, and what it reported.
"""

from __future__ import annotations

import csv
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HEADING = ["nopol", "jenis", "merk", "tipe", "warna", "nama_pemilik", "alamat", "no_rangka", "no_mesin", "tahun",
           "warna_tnkb", "email", "telepon", "berlaku_sampai", "status"]  # fmt: skip
REGIONS = ("BH", "BG", "BE", "BA", "B", "D")
KINDS = (
    ("MOBIL PENUMPANG", "TOYOTA", "AVANZA 1.3 G"),
    ("SEPEDA MOTOR", "HONDA", "BEAT"),
    ("MOBIL BARANG", "ISUZU", "ELF"),
)
BAD = (
    ("nopol", "BH 0123 AB"), ("nopol", ""), ("jenis", "PESAWAT"), ("merk", ""), ("nama_pemilik", ""), ("alamat", " "),
    ("tahun", "19"), ("berlaku_sampai", "31-02-2027"), ("no_rangka", "12"),
)  # fmt: skip


def make(path: Path, rows: int) -> int:
    """Write the file; the number of bad rows in it (one plate given twice among them)."""
    rng = random.Random(8)
    letters = "ABCDEFGHJKLMNPRSTUVWXYZ"
    bad = 0
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, HEADING)
        writer.writeheader()
        for index in range(rows):
            number, rest = index % 9999 + 1, index // 9999
            region = REGIONS[rest % len(REGIONS)]
            rest //= len(REGIONS)
            suffix = letters[rest % 23] + letters[rest // 23 % 23]
            kind, make_, model = KINDS[index % 3]
            row = dict(zip(HEADING, (
                f"{region} {number} {suffix}", kind, make_, model, rng.choice(("HITAM", "PUTIH", "MERAH")),
                f"CONTOH PEMILIK {index}", f"JL. CONTOH NO. {index % 400} | KOTA CONTOH", f"MHX{index:014d}",
                f"EN{index:08d}",
                str(2000 + index % 26), "PUTIH", "", "", "30-11-2028", "AKTIF",
            ), strict=True))  # fmt: skip
            if index % 1000 == 500:
                field, value = BAD[index // 1000 % len(BAD)]
                row[field] = value
                bad += 1
            writer.writerow(row)
            if index == rows - 1:
                writer.writerow(row)
                bad += 1
    return bad


def main() -> None:
    rows = int(next((one for one in sys.argv[1:] if one.isdecimal()), 1_000_000))
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "vehicles.csv"
        bad = make(source, rows)
        command = [
            sys.executable,
            "-c",
            "from etle.cli import main; main()",
            "register",
            "import",
            str(source),
            "--json",
        ]
        command += ["--bad-rows", str(Path(folder) / "bad.csv"), *(["--dry-run"] if "--dry-run" in sys.argv else [])]
        begun = time.monotonic()
        done = subprocess.run(
            command, env={"ETLE_DATA_DIR": folder, **_environment()}, capture_output=True, text=True, check=True
        )
        wall_s = time.monotonic() - begun
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        listed = len((Path(folder) / "bad.csv").read_text().splitlines()) - 1
        print(json.dumps({
            "csv_mb": round(source.stat().st_size / 1e6, 1), "wall_s": round(wall_s, 1),
            "cpu_s": round(used.ru_utime + used.ru_stime, 1), "peak_rss_mb": round(used.ru_maxrss / 1024, 1),
            "bad_made": bad, "bad_listed": listed, **json.loads(done.stdout),
        }, indent=1))  # fmt: skip


def _environment() -> dict[str, str]:
    import os

    return {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "HOME", "TMPDIR")}


if __name__ == "__main__":
    main()

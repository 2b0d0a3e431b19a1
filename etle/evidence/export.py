"""One ZIP for a court: the bundle, an index to read, the public keys, and a verifier that needs none of this program.

The full export holds the sealed originals; the redacted one leaves pictures and clip without masks out (the manifest
still names them and their hashes) and adds the clip with masks, made now and therefore not sealed.
"""

from __future__ import annotations

import getpass
import html
import importlib.resources
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from etle.errors import EvidenceError, InputError, StoreError
from etle.evidence.access import Access, announce, is_original
from etle.evidence.bundle import SEAL, Bundle, load_bundle
from etle.evidence.files import partial_name
from etle.evidence.keys import PublicKeys, pem_of
from etle.evidence.redact import load_masks, redact_clip
from etle.evidence.seal import Ledger, parse_seal
from etle.evidence.timestamp import timestamp_path
from etle.types import BoxPx, Image

VERIFIER = "verify_evidence.py"
WITHHELD = "withheld.json"
"""Names the roles a redacted export leaves out."""
MAX_FILES, MAX_BYTES = 200, 4 << 30
"""No export is larger; a ZIP that claims to be is not unpacked."""
ORDER = ("frame_before", "frame_at", "frame_after", "overlay", "vehicle_closeup", "plate_closeup")


def export_bundle(
    directory: Path,
    out: Path,
    keys: PublicKeys,
    *,
    case_number: str = "",
    redacted: bool = False,
    ledger: Ledger | None = None,
    find_faces: Callable[[Image], Sequence[BoxPx]] | None = None,
    actor: str | None = None,
) -> Path:
    """Write the ZIP of one bundle.

    Args:
        directory: The bundle; verify it first.
        out: The file to write, made whole, then renamed.
        keys: Public keys to enclose.
        case_number: Printed in the index.
        redacted: Leave originals out.
        ledger: Where the proof that the seal is in its day's Merkle tree comes from, if that day's root is made.
        find_faces: Finds faces in the clip, for the redacted export.
        actor: Who asked, for the record of accesses; the operating system's account when None.

    Raises:
        EvidenceError: The bundle lacks what it takes.
        StoreError: The file cannot be written.
    """
    bundle = load_bundle(directory)
    seal = directory / SEAL
    if not seal.is_file():
        raise EvidenceError("this bundle was never sealed", where=directory, remedy="Process the recording again")
    if not redacted:
        announce(Access(str(bundle.facts["case_key"]), "*", actor or getpass.getuser(), "export"))
    withheld = sorted({f.role for f in bundle.files if is_original(f.role)}) if redacted else []
    partial = partial_name(out)
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            _add(archive, "index.html", _index(bundle, seal.read_bytes(), case_number, redacted).encode())
            _add(archive, VERIFIER, _data(f"{VERIFIER}.txt"))
            _add(archive, "public-keys.json", keys.to_json())
            for key in keys.keys.values():
                _add(archive, f"public-key-{key.key_id[:16]}.pem", pem_of(key))
            if withheld:
                _add(archive, WITHHELD, json.dumps({"roles": withheld}).encode())
            if ledger is not None:
                _add_proof(archive, ledger, seal.read_bytes())
            for file in bundle.files:
                if file.role not in withheld:
                    archive.write(directory / file.path, f"bundle/{file.path}")
            if redacted:
                with tempfile.TemporaryDirectory(prefix="etle-") as folder:
                    clip = _masked_clip(bundle, Path(folder), find_faces)
                    archive.write(clip, f"redacted/{clip.name}")
        partial.replace(out)
    except OSError as error:
        raise StoreError(
            f"the export cannot be written ({error.strerror or error})", where=out, remedy="Choose another place"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    return out


def unpacked(path: Path, folder: Path) -> Path:
    """Unpack an export; the bundle within ``folder``.

    Raises:
        InputError: It is no export.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = [e for e in archive.infolist() if not e.is_dir()]
            if len(entries) > MAX_FILES or sum(e.file_size for e in entries) > MAX_BYTES:
                raise ValueError("too large")
            for entry in entries:
                target = (folder / entry.filename).resolve()
                if not target.is_relative_to(folder.resolve()):
                    raise ValueError("a name leads outside")
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as source, target.open("wb") as handle:
                    shutil.copyfileobj(source, handle)
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise InputError(
            f"not an export that can be unpacked ({error})",
            where=path,
            remedy="Give a ZIP made by `etle evidence export`",
        ) from error
    if not (folder / "bundle").is_dir():
        raise InputError("holds no bundle", where=path, remedy="Give a ZIP made by `etle evidence export`")
    return folder / "bundle"


def withheld_roles(bundle: Path) -> frozenset[str]:
    """Roles a redacted export says it leaves out; only pictures and clips without masks can be among them."""
    try:
        roles = json.loads((bundle.parent / WITHHELD).read_bytes())["roles"]
        return frozenset(role for role in roles if isinstance(role, str) and is_original(role))
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


def _masked_clip(bundle: Bundle, folder: Path, find_faces: Callable[[Image], Sequence[BoxPx]] | None) -> Path:
    paths = {file.role: bundle.directory / file.path for file in bundle.files}
    if "masks" not in paths:
        raise EvidenceError(
            "made before masks were kept: there is no masked clip of it", where=bundle.directory, remedy="Process again"
        )
    masks, policy = load_masks(paths["masks"])
    made = folder / "clip.mp4"
    redact_clip(
        paths["clip"], made, masks, int(bundle.facts["clip"]["first_index"]), find_faces=find_faces, policy=policy
    )
    return made


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)


def _add_proof(archive: zipfile.ZipFile, ledger: Ledger, content: bytes) -> None:
    seal = parse_seal(content)
    date = seal.sealed_at.date()
    path = ledger.root_path(date)
    if not path.is_file():
        return  # the day is not over, or nobody asked for its root
    proof = ledger.proof(seal) | {"root": json.loads(path.read_bytes())}
    _add(archive, "proof.json", json.dumps(proof, indent=1).encode())
    if (stamp := timestamp_path(path)).is_file():
        _add(archive, f"daily-root-{date.isoformat()}.json", path.read_bytes())
        _add(archive, f"daily-root-{date.isoformat()}.tsr", stamp.read_bytes())


def _data(name: str) -> bytes:
    return (importlib.resources.files("etle.evidence") / "data" / name).read_bytes()


def _index(bundle: Bundle, seal_content: bytes, case_number: str, redacted: bool) -> str:
    """The page a judge opens: Indonesian, English beneath; nothing is fetched from anywhere."""
    facts, texts = bundle.facts, yaml.safe_load(_data("export.yaml"))
    seal = parse_seal(seal_content)
    out = io.StringIO()

    def both(name: str) -> str:
        return f"{html.escape(texts[name]['id'])}<br><i>{html.escape(texts[name]['en'])}</i>"

    def table(rows: Sequence[tuple[str, str]]) -> None:
        out.write("<table>" + "".join(f"<tr><th>{k}</th><td>{v}</td></tr>" for k, v in rows) + "</table>")

    out.write(
        '<!doctype html><html lang="id"><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'\">"
        f"<title>{html.escape(case_number or str(facts['case_key'])[:16])}</title><style>{_STYLE}</style>"
        f"<h1>{both('title')}</h1>"
    )
    site = facts["site"]
    place = ", ".join(str(site[name]) for name in ("name", "road", "city") if site.get(name))
    table(
        [
            (both("case"), html.escape(case_number or "-") + f"<br><code>{html.escape(str(facts['case_key']))}</code>"),
            (both("kind"), html.escape(str(facts["kind"]).replace("_", " "))),
            (both("when"), f"{html.escape(str(facts['occurred_at']))} ± {float(facts['occurred_u95_s']):.2f} s"),
            (both("where"), html.escape(place)),
            (both("plate"), html.escape(str(facts["plate"]["text"] or "")) or both("unread")),
        ]
    )
    out.write(f"<h2>{both('measured')}</h2><table><tr><th>{both('quantity')}</th><th>{both('value')}</th>")
    out.write(f"<th>{both('u95')}</th></tr>")
    for name, value in facts["measurements"].items():
        shown, u95 = _figure(value)
        out.write(f"<tr><td><code>{html.escape(name)}</code></td><td>{shown}</td><td>{u95}</td></tr>")
    out.write(f"</table><p>{both('not_approved')}</p>")
    if facts.get("signal"):
        out.write(f"<h2>{both('signal')}</h2><table><tr><th>{both('state')}</th><th>{both('from')}</th>")
        out.write(f"<th>{both('to')}</th></tr>")
        for row in facts["signal"]:
            out.write(f"<tr><td>{html.escape(row['state'])}</td><td>{row['start_s']:.3f}</td>")
            out.write(f"<td>{row['end_s']:.3f}</td></tr>")
        out.write("</table>")
    paths = {file.role: file.path for file in bundle.files}
    out.write(f"<h2>{both('pictures')}</h2><p>{both('masked' if redacted else 'original')}</p>")
    for role in ORDER:
        name = paths.get(f"{role}_redacted" if redacted and is_original(role) else role)
        if name is not None:
            out.write(
                f'<figure><img src="bundle/{html.escape(name)}" alt="{role}"><figcaption>{role}</figcaption></figure>'
            )
    clip = "redacted/clip.mp4" if redacted else f"bundle/{paths.get('clip', '')}"
    out.write(f'<h2>{both("clip")}</h2><video controls src="{html.escape(clip)}"></video>')
    out.write(f"<h2>{both('check')}</h2><ol>")
    out.write("".join(f"<li>{both(f'check_{n}')}</li>" for n in range(1, 4 if redacted else 5)) + "</ol>")
    if redacted:
        out.write(f"<p>{both('check_redacted')}</p>")
    out.write(f"<h2>{both('seal')}</h2>")
    table(
        [
            (both("sealed_at"), html.escape(seal.sealed_at.isoformat())),
            (both("chain"), f"<code>{html.escape(seal.link.chain)}</code> / {seal.link.sequence}"),
            (both("key"), f"<code>{html.escape(seal.key_id)}</code>"),
        ]
    )
    out.write(f"<h2>{both('files')}</h2><table>")
    for file in sorted(bundle.files, key=lambda f: f.path):
        out.write(f"<tr><td>{html.escape(file.path)}</td><td>{file.bytes}</td><td><code>{file.sha256}</code></td></tr>")
    out.write("</table></html>")
    return out.getvalue()


def _figure(value: Any) -> tuple[str, str]:
    if isinstance(value, Mapping):
        unit = html.escape(str(value["unit"]))
        return f"{float(value['value']):.3f} {unit}", f"± {float(value['u95']):.3f} {unit}"
    return html.escape(f"{value:g}" if isinstance(value, (int, float)) else str(value)), ""


_STYLE = (
    "body{font:15px/1.4 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#14181d}"
    "i{color:#5a6470;font-size:.85em}table{border-collapse:collapse;width:100%;margin:.5rem 0}"
    "th,td{border:1px solid #c9d0d8;padding:.35rem .5rem;text-align:left;vertical-align:top}"
    "th{background:#f2f4f7;width:30%}"
    "code{word-break:break-all}img,video{max-width:100%}figure{margin:1rem 0}"
)

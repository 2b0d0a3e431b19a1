"""A deployment for browser tests: real pictures and a real clip, drawn once and given to many cases."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from etle.cases.db import open_database
from etle.cases.store import NewCase, NewEvidenceFile, store_recording
from etle.cases.users import add_user
from etle.site import load_site
from tests.cases.made_up import RECORDING, bare_case, make_case, make_facts
from tests.evidence.test_scene import passing_track
from tests.web.conftest import PASSWORD, USERS, settings_for

CASES = 26


def make_deployment(data_dir: Path, repository: Path) -> list[str]:
    """Cases of two kinds with a site file, and an account for every role; the cases' numbers in order of time."""
    site_file = repository / "sample_footage" / "junction-day" / "site.yaml"
    site = load_site(site_file).site
    track = passing_track(site)
    cases: list[NewCase] = []
    models: dict[str, NewCase] = {}
    for index in range(CASES):
        kind = "speeding" if index % 3 == 2 else "red_light"
        plate = f"BH {1200 + index} R{'ABCDEFGHJKLMNPQRSTUVWXYZAB'[index]}"
        facts = make_facts(kind, event_s=3.0 + 0.37 * index, track=index, plate=plate)
        facts["site"] |= {
            "id": site.id,
            "name": site.name,
            "sha256": hashlib.sha256(site_file.read_bytes()).hexdigest(),
        }
        facts["vehicle"]["lane"] = site.lanes[0].id
        facts["software"]["detector_model"] = "etle-detector-1"
        facts["recording"] |= {"width": site.image.width, "height": site.image.height}
        facts["track"] = track
        facts["event_t_s"] = 2.0
        facts["clip"] = {"offset_s": 0.0, "first_index": 0, "first_t_s": 0.0}
        cases.append(_case(data_dir, facts, site_file, models))
    database = open_database(settings_for(data_dir).resolved_database_url)
    try:
        stored = store_recording(database, replace(RECORDING, site_id=site.id), cases)
        with database.session() as session:
            for name, role in USERS.items():
                add_user(session, name, PASSWORD, role)
    finally:
        database.close()
    return [case.case_number for case in stored.stored]


def _case(data_dir: Path, facts: dict[str, Any], site_file: Path, models: dict[str, NewCase]) -> NewCase:
    kind = facts["kind"]
    if kind not in models:
        model = make_case(data_dir, facts)
        folder = data_dir / model.evidence_dir
        content = site_file.read_bytes()
        (folder / "site.yaml").write_bytes(content)
        file = NewEvidenceFile(
            "site", "site.yaml", hashlib.sha256(content).hexdigest(), len(content), "application/yaml"
        )
        models[kind] = replace(model, files=(*model.files, file))
        return models[kind]
    model, source = models[kind], data_dir / models[kind].evidence_dir
    folder = f"evidence/{facts['case_key'][:16]}"
    target = data_dir / folder
    target.mkdir(parents=True)
    files = []
    for file in model.files:
        if file.path == "case.json":
            facts["files"] = [
                {"path": f.path, "role": f.role, "sha256": f.sha256, "bytes": f.size_bytes, "media_type": f.media_type}
                for f in model.files
                if f.path != "case.json"
            ]
            written = json.dumps(facts, ensure_ascii=False, sort_keys=True).encode()
            (target / file.path).write_bytes(written)
            files.append(replace(file, sha256=hashlib.sha256(written).hexdigest(), size_bytes=len(written)))
        else:
            (target / file.path).hardlink_to(source / file.path)
            files.append(file)
    return replace(bare_case(facts), evidence_dir=folder, files=tuple(files))

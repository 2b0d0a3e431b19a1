"""What of a case may leave the office: pictures with masks over bystanders, and the clip with masks."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

from etle.cases.files import evidence_path
from etle.cases.models import Case
from etle.cases.papers import papers_folder
from etle.errors import EvidenceError
from etle.evidence.access import is_original
from etle.evidence.files import unwritable
from etle.evidence.redact import load_masks, redact_clip
from etle.settings import Settings

NAME = "clip.masked.mp4"
_one_at_a_time = threading.Lock()


def shown_as(role: str, roles: set[str]) -> str | None:
    """The role an owner may see instead of a role: the masked picture; the plate's own picture shows nobody else."""
    if f"{role}_redacted" in roles:
        return f"{role}_redacted"
    return role if role in roles and not is_original(role) else None


def masked_clip(settings: Settings, case: Case) -> Path:
    """The masked clip, made when first asked for and kept with the case's papers; one at a time, the others wait.

    Args:
        settings: The deployment.
        case: The case, loaded with its files.

    Raises:
        EvidenceError: The clip or its masks are missing: then nothing may be shown.
        FootageError: The clip cannot be read.
        StoreError: The disk is full or refuses.
    """
    folder = papers_folder(settings, case.case_key)
    made = folder / NAME
    if made.is_file():
        return made
    roles = {file.role: file for file in case.files}
    first = (case.facts.get("clip") or {}).get("first_index")
    if "masks" not in roles or "clip" not in roles or first is None:
        raise EvidenceError("there is no masked clip of this case", where=case.case_number)
    with _one_at_a_time:
        if made.is_file():
            return made
        masks, policy = load_masks(evidence_path(settings.data_dir, case, roles["masks"]))
        source = evidence_path(settings.data_dir, case, roles["clip"])
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".clip-", dir=folder) as beside:
                fresh = Path(beside) / NAME
                redact_clip(source, fresh, masks, int(first), policy=policy)
                fresh.replace(made)
        except OSError as error:
            raise unwritable(made, error) from error
    return made

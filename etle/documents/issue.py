"""The ticket of a stored case: what the page, the API and the command line all hand out."""

from __future__ import annotations

from pathlib import Path

from etle.cases.files import CASE_FILE, evidence_root
from etle.cases.models import Case
from etle.documents.ticket import DocumentError, Letterhead, TicketDecision, render_ticket


def issue_ticket(case: Case, data_dir: Path, letterhead: Letterhead, out: Path) -> Path:
    """Write the ticket of a verified case.

    Args:
        case: The case, loaded with its decisions and files.
        data_dir: Data directory of the deployment.
        letterhead: Who issues it.
        out: The PDF to write.

    Raises:
        DocumentError: The case is not verified, or its plate is not known.
        EvidenceError: The evidence is missing or altered.
    """
    verification = next((d for d in reversed(case.decisions) if d.action == "verify"), None)
    if case.state in ("flagged", "rejected") or verification is None:  # flagged again: it was taken back
        raise DocumentError(
            f"the case is {case.state}: only a verified case has a ticket",
            where=case.case_number,
            remedy="Let an officer decide first",
        )
    stored = next((file.sha256 for file in case.files if file.path == CASE_FILE), None)
    return render_ticket(
        case.facts,
        TicketDecision(
            action=verification.action,
            officer=verification.actor,
            decided_at=verification.decided_at,
            plate_text=verification.plate_text,
        ),
        evidence_root(data_dir, case),
        letterhead,
        out,
        case_number=case.case_number,
        case_sha256=stored,
    )

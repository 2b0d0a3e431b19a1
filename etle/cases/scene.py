"""What is drawn over a stored case's pictures (:mod:`etle.evidence.scene`), from the evidence in the store."""

from __future__ import annotations

import logging
from pathlib import Path

from etle.cases.files import evidence_path
from etle.cases.models import Case
from etle.errors import EtleError
from etle.evidence.scene import Scene, scene_of
from etle.site import load_site

__all__ = ["Scene", "case_scene"]

LOG = logging.getLogger("etle.cases")


def case_scene(data_dir: Path, case: Case) -> Scene | None:
    """The scene of a case; None where its bundle has no site file that can still be used (cases of older versions).

    Args:
        data_dir: Data directory of the deployment.
        case: The case, loaded with its files.
    """
    file = next((file for file in case.files if file.role == "site"), None)
    if file is None:
        return None
    key = (case.case_key, file.sha256)
    if key not in _CACHE:
        try:
            site = load_site(evidence_path(data_dir, case, file)).site
            found: Scene | None = scene_of(case.facts, site)
        except (EtleError, ValueError, KeyError, TypeError) as error:
            LOG.warning("no scene for %s: %s", case.case_number, error)
            found = None
        if len(_CACHE) >= _KEPT:
            _CACHE.pop(next(iter(_CACHE)), None)
        _CACHE[key] = found
    return _CACHE[key]


_CACHE: dict[tuple[str, str], Scene | None] = {}
_KEPT = 256

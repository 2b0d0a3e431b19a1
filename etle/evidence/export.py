"""stub"""

from pathlib import Path


def unpacked(path: Path, folder: Path) -> Path:
    """Unpack."""
    return folder

"""Guard against two different OpenCV packages in one environment (docs/decisions/0002-one-opencv.md)."""

from __future__ import annotations

from importlib import metadata

from etle.errors import EtleError

PACKAGES = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")


def require_one_opencv() -> None:
    """Refuse a mixture: all these packages write the same ``cv2``, so their versions must be equal.

    Raises:
        EtleError: Two of them are installed in different versions.
    """
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    if len(set(found.values())) > 1:
        wanted = found.get("opencv-python", next(iter(found.values())))
        raise EtleError(
            "two versions of OpenCV are mixed in this environment",
            where=", ".join(f"{name} {version}" for name, version in found.items()),
            remedy="Run: pip install --force-reinstall --no-deps " + " ".join(f"{name}=={wanted}" for name in found),
        )

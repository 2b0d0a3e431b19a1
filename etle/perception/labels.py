"""The names other people's models use, mapped onto our labels."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from etle.types import LABELS

FOUR_WHEEL_LABELS: frozenset[str] = frozenset({"car", "bus", "truck"})
"""Labels a detector mixes up for one and the same vehicle."""

TWO_WHEEL_LABELS: frozenset[str] = frozenset({"motorcycle", "bicycle"})

_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        **{label: label for label in LABELS},
        # COCO writes "traffic light"; older COCO listings and VOC write "motorbike"
        "motorbike": "motorcycle",
        "trafficlight": "traffic_light",
        "license_plate": "licence_plate",
        "number_plate": "licence_plate",
        "numberplate": "licence_plate",
        "plate": "licence_plate",
    }
)


def to_label(class_name: str) -> str | None:
    """Map a model's class name onto one of :data:`etle.types.LABELS`; None where we have no use for the class."""
    return _ALIASES.get("_".join(class_name.lower().replace("-", " ").replace("_", " ").split()))


def map_classes(names: Mapping[int, str]) -> dict[int, str]:
    """Map class ids onto our labels and drop the classes we have no use for.

    Args:
        names: Class id -> the model's own class name.

    Returns:
        Class id -> one of :data:`etle.types.LABELS`, in order of id; may be empty.
    """
    return {index: label for index, name in sorted(names.items()) if (label := to_label(name)) is not None}


def riders_apart(names: Mapping[int, str]) -> bool:
    """Whether a network boxes a motorcycle and its riders apart, as those trained on COCO do.

    Our own networks know exactly :data:`etle.types.LABELS`, and box a motorcycle with its riders.

    Args:
        names: Class id -> the model's own class name, all of them.
    """
    labels = {to_label(name) for name in names.values()}
    return "person" in labels and bool(labels & TWO_WHEEL_LABELS) and labels != set(LABELS)

"""How much an upload may be, and what it costs at most to look at one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one upload. The defaults take a telephone's photo and a scanned letter."""

    bytes: int = 12 * 1024 * 1024
    """Size of the file as sent."""
    pixels: int = 40_000_000
    """Width times height a picture's header may claim; larger ones are never decoded."""
    given_side_px: int = 20_000
    """Longest side a picture's header may claim."""
    side_px: int = 2600
    """Longest side of a picture as kept."""
    pages: int = 20
    page_pixels: int = 4_000_000
    """Pixels of one page of a PDF as kept."""
    cpu_s: int = 12
    """Processor time of the process that decodes."""
    wall_s: float = 60.0
    memory_bytes: int = 1536 * 1024 * 1024
    """Address space of the process that decodes."""

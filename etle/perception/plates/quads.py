"""Where a plate stands, as four corners: candidates from lettering and edges, refinement of a detector's box, cutting.

A detector's box is upright and never quite tight; a plate seen askew fills it badly. Lettering tells more: characters
of one height in one line give the row's direction and height, and with the usual proportions of a plate its four
corners. All candidates are cut out and read; the reader says which of them is a plate. Quads are ``(4, 2)`` arrays of
``(x, y)`` in pixels: top left, top right, bottom right, bottom left.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from etle.types import BoxPx, Image

Quad = NDArray[np.float32]

WORK_WIDTH_PX = 480
"""Pictures are searched at about this width; smaller ones are enlarged at most twofold."""
# a plate's proportions in heights of its large characters (Perpol 7/2021 and plates in use)
ABOVE, BELOW, BESIDE = 0.32, 0.80, 0.35
MIN_CHARACTERS = 4
MAX_CANDIDATES = 24


def box_quad(box: BoxPx, *, around: float = 0.0) -> Quad:
    """A box as a quad, enlarged on each side by a share of its size."""
    x1, y1, x2, y2 = box
    dx, dy = around * (x2 - x1), around * (y2 - y1)
    return np.array([[x1 - dx, y1 - dy], [x2 + dx, y1 - dy], [x2 + dx, y2 + dy], [x1 - dx, y2 + dy]], np.float32)


def quad_box(quad: Quad) -> BoxPx:
    """The upright box around a quad."""
    (x1, y1), (x2, y2) = quad.min(axis=0), quad.max(axis=0)
    return (float(x1), float(y1), float(x2), float(y2))


def cut(image: Image, quad: Quad) -> Image:
    """The quad's inside, rectified, at the picture's own scale (between 32 and 400 px wide)."""
    across = (np.linalg.norm(quad[1] - quad[0]) + np.linalg.norm(quad[2] - quad[3])) / 2
    down = (np.linalg.norm(quad[3] - quad[0]) + np.linalg.norm(quad[2] - quad[1])) / 2
    width = int(min(400, max(32, round(float(across)))))
    height = int(min(200, max(12, round(float(down) * width / max(1.0, float(across))))))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(quad.astype(np.float32), target)
    if across > 1.5 * width:  # the warp samples single pixels
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.4 * float(across) / width), np.uint8)
    out = cv2.warpPerspective(image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.uint8)


def refine(image: Image, box: BoxPx, *, around: float = 0.2) -> list[Quad]:
    """Quads to try for a detector's plate box, the box itself (a little enlarged) first."""
    quads = [box_quad(box, around=0.03)]
    height, width = image.shape[:2]
    x1, y1, x2, y2 = quad_box(box_quad(box, around=around))
    left, top, right, bottom = max(0, int(x1)), max(0, int(y1)), min(width, int(x2) + 1), min(height, int(y2) + 1)
    if right - left >= 16 and bottom - top >= 8:
        offset = np.array([left, top], np.float32)
        wide = box[2] - box[0]
        quads += [
            quad + offset
            for quad in lettering(image[top:bottom, left:right], work_width_px=320)
            if np.linalg.norm(quad[1] - quad[0]) > 0.5 * wide
        ][:3]
    return quads


def surface(image: Image, quad: Quad, *, around: float = 0.15) -> list[Quad]:
    """Quads of the plate's own surface near a quad: one patch, light or dark, that holds the lettering."""
    upper, lower = quad[1] - quad[0], quad[2] - quad[3]
    left, right = quad[3] - quad[0], quad[2] - quad[1]
    wide = np.array(
        [
            quad[0] - around * (upper + left),
            quad[1] + around * (upper - right),
            quad[2] + around * (lower + right),
            quad[3] - around * (lower - left),
        ],
        np.float32,
    )
    shape = float(np.linalg.norm(left)) / max(1.0, float(np.linalg.norm(upper)))
    width, height = 200, max(40, min(160, round(200 * shape)))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image
    matrix = cv2.getPerspectiveTransform(wide, target)
    flat = cv2.warpPerspective(grey, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    back = np.linalg.inv(matrix)
    found = []
    for polarity in (cv2.THRESH_BINARY, cv2.THRESH_BINARY_INV):
        _, mask = cv2.threshold(cv2.GaussianBlur(flat, (3, 3), 0), 0, 255, polarity | cv2.THRESH_OTSU)
        # links to what lies beside it are cut; the lettering is holes in it, which its outline passes over
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        _, labels, _, _ = cv2.connectedComponentsWithStats(mask)
        middle = labels[height // 4 : 3 * height // 4, width // 3 : 2 * width // 3]
        counts = np.bincount(middle.ravel())
        counts[0] = 0
        best = int(counts.argmax())
        if counts[best] < 0.3 * middle.size:
            continue
        contours, _ = cv2.findContours((labels == best).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        outline = cv2.convexHull(contours[0])
        if not 0.15 < cv2.contourArea(outline) / mask.size < 0.93:
            continue
        (cx, cy), (a, b), angle = cv2.minAreaRect(outline)
        if a < b:
            a, b, angle = b, a, angle - 90
        angle += 180 if angle < -45 else 0
        if abs(angle) > 20 or b < 0.25 * height:
            continue
        corners = _ordered(cv2.boxPoints(((cx, cy), (1.04 * a, 1.08 * b), angle)))
        found.append(np.asarray(cv2.perspectiveTransform(corners[None].astype(np.float64), back)[0], np.float32))
    return found


def candidates(image: Image) -> list[Quad]:
    """Quads in a vehicle's picture that may be plates, without a plate detector: lettering first, then dense edges."""
    if min(image.shape[:2]) < 16:
        return []
    found = lettering(image) + _edges(image)
    kept: list[Quad] = []
    for quad in found:
        if all(_overlap(quad_box(quad), quad_box(other)) < 0.85 for other in kept):
            kept.append(quad)
    return kept[:MAX_CANDIDATES]


def lettering(image: Image, *, work_width_px: int = WORK_WIDTH_PX) -> list[Quad]:
    """Quads around rows of characters of one height, most characters first."""
    grey, scale = _scaled_grey(image, work_width_px)
    side = max(15, (grey.shape[1] // 16) | 1)
    quads: list[tuple[int, Quad]] = []
    for polarity in (cv2.THRESH_BINARY, cv2.THRESH_BINARY_INV):
        for block in (side, (side // 2) | 1):
            if block < 7:
                continue
            binary = cv2.adaptiveThreshold(
                grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, polarity, block, -6 if not polarity else 6
            )
            quads += _rows(binary)
    quads.sort(key=lambda item: -item[0])
    return [np.asarray(quad / scale, np.float32) for _, quad in quads[:10]]


def _scaled_grey(image: Image, width_px: int) -> tuple[Any, float]:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image
    scale = min(2.0, width_px / grey.shape[1])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(grey, None, fx=scale, fy=scale, interpolation=method), scale


def _rows(binary: Any) -> list[tuple[int, Quad]]:
    """Chains of like components in a black and white picture: number of components and quad."""
    _, _, stats, centres = cv2.connectedComponentsWithStats(binary, connectivity=8)
    x, y, w, h, area = (stats[1:, k].astype(np.float32) for k in range(5))
    centre = centres[1:].astype(np.float32)
    good = (h >= 7) & (h >= 0.8 * w) & (h <= 14 * w) & (h < 0.6 * binary.shape[0]) & (area >= 0.15 * w * h)
    index = np.flatnonzero(good)
    if len(index) < MIN_CHARACTERS or len(index) > 600:
        return []
    x, y, w, h, centre = x[index], y[index], w[index], h[index], centre[index]
    middle = np.stack([x + w / 2, y + h / 2], axis=1)
    # b follows a: like height, to the right of it, near, nearly level
    dx = middle[None, :, 0] - middle[:, None, 0]
    dy = np.abs(middle[None, :, 1] - middle[:, None, 1])
    like = np.abs(h[None] - h[:, None]) <= 0.25 * np.maximum(h[None], h[:, None])
    tall = np.maximum(h[None], h[:, None])
    gap = dx - (w[None] + w[:, None]) / 2
    linked = like & (dx > 0) & (gap < 2.2 * tall) & (dy < 0.18 * tall + 0.25 * dx) & (dy < 0.6 * tall)
    # nearest neighbour to the right only
    cost = np.where(linked, gap + 2 * dy, np.inf)
    after = np.where(np.isfinite(cost.min(axis=1)), cost.argmin(axis=1), -1)
    has_before = np.zeros(len(index), bool)
    has_before[after[after >= 0]] = True
    found: list[tuple[int, Quad]] = []
    for start in np.flatnonzero(~has_before):
        chain = [int(start)]
        while after[chain[-1]] >= 0 and len(chain) < 16:
            chain.append(int(after[chain[-1]]))
        if len(chain) >= MIN_CHARACTERS:
            members = np.array(chain)
            found.append((len(chain), _row_quad(x[members], w[members], h[members], middle[members])))
    return found


def _row_quad(x: Any, w: Any, h: Any, middle: Any) -> Quad:
    tall = float(np.median(h))
    slope, level = np.polyfit(middle[:, 0], middle[:, 1], 1)
    slope = float(np.clip(slope, -0.6, 0.6))
    level = float(np.median(middle[:, 1] - slope * middle[:, 0]))
    left, right = float(x.min()) - BESIDE * tall, float((x + w).max()) + BESIDE * tall
    upper, lower = -(0.5 + ABOVE) * tall, (0.5 + BELOW) * tall

    def at(px: float, down: float) -> tuple[float, float]:
        return (px, level + slope * px + down)

    return np.array([at(left, upper), at(right, upper), at(right, lower), at(left, lower)], np.float32)


def _edges(image: Image) -> list[Quad]:
    """Quads around patches full of upright edges, which blurred lettering still is."""
    grey, scale = _scaled_grey(image, 320)
    gradient = cv2.convertScaleAbs(cv2.Sobel(cv2.GaussianBlur(grey, (3, 3), 0), cv2.CV_16S, 1, 0))
    quads: list[tuple[float, Quad]] = []
    for wide, high in ((9, 3), (17, 5), (31, 7)):
        closed = cv2.morphologyEx(gradient, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_RECT, (wide, high)))
        closed = cv2.morphologyEx(closed, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_RECT, (wide // 2, high)))
        _, mask = cv2.threshold(closed, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for contour in contours:
            x, y, w, h = cv2.boundingRect(contour)
            everything = w > 0.95 * grey.shape[1] and h > 0.5 * grey.shape[0]
            if w < 18 or h < 6 or not 1.5 <= w / h <= 9 or everything:
                continue
            (cx, cy), (a, b), angle = cv2.minAreaRect(contour)
            if a < b:
                a, b, angle = b, a, angle - 90
            if angle < -45:
                angle += 180
            if abs(angle) > 35 or b < 5:
                continue
            corners = cv2.boxPoints(((cx, cy), (a * 1.06, b * 1.25), angle))
            strength = float(cv2.mean(closed[y : y + h, x : x + w])[0]) * w
            quads.append((strength, _ordered(corners) / scale))
    quads.sort(key=lambda item: -item[0])
    return [np.asarray(quad, np.float32) for _, quad in quads[:12]]


def _ordered(corners: Any) -> Any:
    """Corners from the top left, clockwise."""
    by_y = corners[np.argsort(corners[:, 1])]
    top = by_y[:2][np.argsort(by_y[:2, 0])]
    bottom = by_y[2:][np.argsort(-by_y[2:, 0])]
    return np.vstack([top, bottom])


def _overlap(a: BoxPx, b: BoxPx) -> float:
    """Intersection over union of two boxes."""
    wide = min(a[2], b[2]) - max(a[0], b[0])
    high = min(a[3], b[3]) - max(a[1], b[1])
    if wide <= 0 or high <= 0:
        return 0.0
    both = wide * high
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)

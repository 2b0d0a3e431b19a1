"""A small software rasteriser: which triangle is seen at which pixel, and colours carried over from key pictures.

Used for exact silhouettes, visible fractions, and for re-projecting a vehicle's colours from a few high-quality
Cycles pictures onto its exact pose in every frame.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]


@njit(cache=True, fastmath=False)
def rasterise(points_px: Array, depth: Array, triangles: Array, x0: int, y0: int, width: int, height: int) -> Any:
    """Depth-tested triangle ids over a window of the picture.

    Args:
        points_px: (N, 2) projected vertices, continuous pixels.
        depth: (N,) distances along the optical axis, metres.
        triangles: (M, 3) vertex numbers.
        x0: Left edge of the window.
        y0: Top edge of the window.
        width: Window size.
        height: Window size.

    Returns:
        (height, width) int32 triangle ids, -1 where nothing, and float32 depths, inf where nothing.
    """
    ids = np.full((height, width), -1, np.int32)
    zbuf = np.full((height, width), np.inf, np.float32)
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        if depth[a] < 0.3 or depth[b] < 0.3 or depth[c] < 0.3:
            continue
        ax, ay = points_px[a, 0] - x0, points_px[a, 1] - y0
        bx, by = points_px[b, 0] - x0, points_px[b, 1] - y0
        cx, cy = points_px[c, 0] - x0, points_px[c, 1] - y0
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        u0 = max(0, int(np.floor(min(ax, bx, cx) - 0.5)))
        u1 = min(width - 1, int(np.ceil(max(ax, bx, cx) - 0.5)))
        v0 = max(0, int(np.floor(min(ay, by, cy) - 0.5)))
        v1 = min(height - 1, int(np.ceil(max(ay, by, cy) - 0.5)))
        ia, ib, ic = 1.0 / depth[a], 1.0 / depth[b], 1.0 / depth[c]
        for v in range(v0, v1 + 1):
            py = v + 0.5
            for u in range(u0, u1 + 1):
                px = u + 0.5
                wa = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area
                wb = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area
                wc = 1.0 - wa - wb
                if wa < -1e-7 or wb < -1e-7 or wc < -1e-7:
                    continue
                z = 1.0 / (wa * ia + wb * ib + wc * ic)
                if z < zbuf[v, u]:
                    zbuf[v, u] = z
                    ids[v, u] = t
    return ids, zbuf


@njit(cache=True, fastmath=True)
def _sample(key: Array, kx: float, ky: float, out: Array) -> float:
    """Bilinear colour of straight-alpha RGBA weighted by alpha; returns the alpha."""
    h, w = key.shape[0], key.shape[1]
    fx, fy = kx - 0.5, ky - 0.5
    ix, iy = int(np.floor(fx)), int(np.floor(fy))
    fx -= ix
    fy -= iy
    total = 0.0
    out[0] = 0.0
    out[1] = 0.0
    out[2] = 0.0
    for dy in range(2):
        for dx in range(2):
            x, y = ix + dx, iy + dy
            if 0 <= x < w and 0 <= y < h:
                weight = (fx if dx else 1 - fx) * (fy if dy else 1 - fy) * key[y, x, 3]
                total += weight
                out[0] += weight * key[y, x, 0]
                out[1] += weight * key[y, x, 1]
                out[2] += weight * key[y, x, 2]
    if total > 1e-6:
        out[0] /= total
        out[1] /= total
        out[2] /= total
    return total


@njit(cache=True, fastmath=True)
def carry_colours(
    ids: Array,
    points_px: Array,
    depth: Array,
    triangles: Array,
    x0: int,
    y0: int,
    key_a: Array,
    key_a_px: Array,
    key_a_depth: Array,
    key_a_z: Array,
    a_x0: int,
    a_y0: int,
    key_b: Array,
    key_b_px: Array,
    key_b_depth: Array,
    key_b_z: Array,
    b_x0: int,
    b_y0: int,
    share_b: float,
) -> Array:
    """Colours of every covered pixel, taken from two key pictures of the same vehicle.

    Each pixel's point on its triangle is found again in both keys (whose vertices are given projected) and the two
    colours are mixed, ``share_b`` of the second; a key in which the point is hidden gives way to the other.

    Returns:
        (height, width, 3) float32, 0 where ``ids`` is -1.
    """
    height, width = ids.shape
    out = np.zeros((height, width, 3), np.float32)
    ca = np.zeros(3, np.float32)
    cb = np.zeros(3, np.float32)
    for v in range(height):
        for u in range(width):
            t = ids[v, u]
            if t < 0:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            px, py = u + 0.5 + x0, v + 0.5 + y0
            ax, ay, bx, by, cx, cy = (
                points_px[a, 0], points_px[a, 1], points_px[b, 0], points_px[b, 1], points_px[c, 0], points_px[c, 1]
            )  # fmt: skip
            area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
            wa = ((bx - px) * (cy - py) - (by - py) * (cx - px)) / area
            wb = ((cx - px) * (ay - py) - (cy - py) * (ax - px)) / area
            wc = 1.0 - wa - wb
            # perspective-correct weights on the triangle itself
            wa, wb, wc = wa / depth[a], wb / depth[b], wc / depth[c]
            total = wa + wb + wc
            wa, wb, wc = wa / total, wb / total, wc / total
            # the point as the keys see it
            za = wa * key_a_depth[a] + wb * key_a_depth[b] + wc * key_a_depth[c]
            xa = (
                wa * key_a_px[a, 0] * key_a_depth[a]
                + wb * key_a_px[b, 0] * key_a_depth[b]
                + wc * key_a_px[c, 0] * key_a_depth[c]
            ) / za - a_x0
            ya = (
                wa * key_a_px[a, 1] * key_a_depth[a]
                + wb * key_a_px[b, 1] * key_a_depth[b]
                + wc * key_a_px[c, 1] * key_a_depth[c]
            ) / za - a_y0
            zb = wa * key_b_depth[a] + wb * key_b_depth[b] + wc * key_b_depth[c]
            xb = (
                wa * key_b_px[a, 0] * key_b_depth[a]
                + wb * key_b_px[b, 0] * key_b_depth[b]
                + wc * key_b_px[c, 0] * key_b_depth[c]
            ) / zb - b_x0
            yb = (
                wa * key_b_px[a, 1] * key_b_depth[a]
                + wb * key_b_px[b, 1] * key_b_depth[b]
                + wc * key_b_px[c, 1] * key_b_depth[c]
            ) / zb - b_y0
            seen_a = _sample(key_a, xa, ya, ca) * (1.0 - share_b)
            seen_b = _sample(key_b, xb, yb, cb) * share_b
            i, j = int(ya), int(xa)
            if 0 <= i < key_a_z.shape[0] and 0 <= j < key_a_z.shape[1] and za > key_a_z[i, j] + 0.08:
                seen_a *= 0.02
            i, j = int(yb), int(xb)
            if 0 <= i < key_b_z.shape[0] and 0 <= j < key_b_z.shape[1] and zb > key_b_z[i, j] + 0.08:
                seen_b *= 0.02
            total = seen_a + seen_b
            if total > 1e-9:
                for k in range(3):
                    out[v, u, k] = (seen_a * ca[k] + seen_b * cb[k]) / total
    return out

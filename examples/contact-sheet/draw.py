#!/usr/bin/env python3
"""Draws the six weaves of this example into inputs/: python3 draw.py. Needs nothing but Python."""

import math
import struct
import zlib
from pathlib import Path

WIDTH, HEIGHT, THREAD = 320, 240, 10

INK, CREAM, RUST, SAND = (34, 45, 84), (238, 228, 206), (176, 74, 42), (214, 184, 138)
MOSS, GOLD, TEAL, PLUM, SLATE = (52, 92, 70), (224, 170, 62), (36, 112, 118), (84, 38, 74), (92, 100, 112)


def twill(x, y):
    return (x - y) % 4 < 2


def herringbone(x, y):
    return twill(x, y) if x // 6 % 2 == 0 else twill(-x - 1, y)


# The name, whether the warp is on top at a crossing, the colours of warp threads and of weft threads.
WEAVES = [
    ("plain", lambda x, y: (x + y) % 2 == 0, [INK], [CREAM]),
    ("basket", lambda x, y: (x // 2 + y // 2) % 2 == 0, [TEAL], [SAND, SAND, CREAM, CREAM]),
    ("twill", twill, [RUST], [SAND]),
    ("herringbone", herringbone, [SLATE], [CREAM] * 6 + [GOLD] * 2),
    ("satin", lambda x, y: (x * 2 - y) % 5 != 0, [MOSS, MOSS, MOSS, MOSS, MOSS, GOLD, MOSS, MOSS], [GOLD]),
    ("houndstooth", twill, [PLUM] * 4 + [CREAM] * 4, [PLUM] * 4 + [CREAM] * 4),
]


def pixel(x, y, on_top, warp, weft):
    column, row = x // THREAD, y // THREAD
    across, along = (x % THREAD + 0.5) / THREAD, (y % THREAD + 0.5) / THREAD
    is_warp = on_top(column, row)
    if is_warp:
        colour = warp[column % len(warp)]
        dips = not on_top(column, row - 1), not on_top(column, row + 1)
    else:
        colour = weft[row % len(weft)]
        across, along = along, across
        dips = on_top(column - 1, row), on_top(column + 1, row)
    # A thread is round, and goes down where it passes below another.
    light = 0.5 + 0.58 * math.sin(math.pi * across)
    if dips[0] and along < 0.5:
        light *= 0.55 + 0.9 * along
    if dips[1] and along > 0.5:
        light *= 0.55 + 0.9 * (1 - along)
    return bytes(min(255, int(part * light)) // 6 * 6 for part in colour)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(rows):
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


for number, (name, *weave) in enumerate(WEAVES, 1):
    rows = [b"".join(pixel(x, y, *weave) for x in range(WIDTH)) for y in range(HEIGHT)]
    (Path(__file__).parent / "inputs" / f"{number}-{name}.png").write_bytes(png(rows))

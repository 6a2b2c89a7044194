"""The drawings of docs/explanation, from the sizes of the network: python -m docsite.diagrams."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path

from tamrf_xr.model.config import NetworkConfig

FOLDER = Path(__file__).resolve().parents[1] / "docs/explanation"
S2, LANDSAT, BOTH, PLAIN = "#1f77b4", "#d95f02", "#4d4d4d", "#888888"
_STYLE = "font-family:'DejaVu Sans',Verdana,sans-serif"


def box(x: float, y: float, width: float, height: float, *lines: str, colour: str = BOTH) -> str:
    """Return a box with lines of text in its middle, the first of them bold."""
    shape = (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="{colour}" '
        f'fill-opacity="0.12" stroke="{colour}" stroke-width="1.5"/>'
    )
    top = y + height / 2 - 8 * (len(lines) - 1) + 4.5
    texts = [
        text(x + width / 2, top + 16 * place, line, weight="bold" if place == 0 else "normal")
        for place, line in enumerate(lines)
    ]
    return shape + "".join(texts)


def text(
    x: float,
    y: float,
    words: str,
    *,
    weight: str = "normal",
    colour: str = "#222",
    end: str = "middle",
) -> str:
    """Return one line of text."""
    how = f'text-anchor="{end}" font-size="12.5" font-weight="{weight}" fill="{colour}"'
    return f'<text x="{x:g}" y="{y:g}" {how}>{escape(words)}</text>'


def arrow(*points: tuple[float, float], colour: str = "#555") -> str:
    """Return a line through points, with a head at the last."""
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    how = f'fill="none" stroke="{colour}" stroke-width="1.6" marker-end="url(#head)"'
    return f'<polyline points="{path}" {how}/>'


def frame(x: float, y: float, size: float, colour: str, *, dashed: bool = False) -> str:
    """Return a square around a point of its own: the corner is given."""
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    how = f'fill="{colour}" fill-opacity="0.10" stroke="{colour}" stroke-width="1.6"'
    return f'<rect x="{x:g}" y="{y:g}" width="{size:g}" height="{size:g}" {how}{dash}/>'


def drawing(width: int, height: int, *parts: str) -> str:
    """Return the file: white behind, so that it reads on dark pages too."""
    head = (
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#555"/></marker></defs>'
    )
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}" style="{_STYLE}"'
    back = f'<rect width="{width}" height="{height}" fill="#fff"/>'
    body = "\n".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{head}{back}\n{body}\n</svg>\n'


def network(sizes: NetworkConfig) -> str:
    """Draw the way from two series to every band at a query date."""
    latent, width = sizes.latent, sizes.width
    return drawing(
        900,
        420,
        box(20, 60, 150, 62, "Landsat, 30 m", f"{sizes.lr_bands} bands, each date", colour=LANDSAT),
        box(20, 230, 150, 62, "Sentinel-2, 10 m", f"{sizes.hr_bands} bands, each date", colour=S2),
        box(210, 60, 150, 62, "encoder", "date by date,", "then 3 x bicubic", colour=LANDSAT),
        box(210, 230, 150, 62, "encoder", "date by date", colour=S2),
        arrow((170, 91), (208, 91)),
        arrow((170, 261), (208, 261)),
        box(
            400,
            130,
            160,
            92,
            "tokens of a pixel",
            f"{latent} features",
            f"+ {sizes.positional} of the day",
            f"+ {sizes.sensor_token} of the sensor",
        ),
        arrow((360, 91), (480, 91), (480, 128)),
        arrow((360, 261), (480, 261), (480, 224)),
        box(
            600,
            130,
            130,
            92,
            "transformer",
            f"{sizes.num_layers} layers:",
            "the dates of",
            "a pixel attend",
        ),
        arrow((560, 176), (598, 176)),
        box(600, 290, 130, 76, "a query date", f"{width} numbers,", "no image", colour=PLAIN),
        box(770, 130, 110, 92, "decoder", "the query looks", "at all dates"),
        arrow((730, 176), (768, 176)),
        arrow((730, 328), (825, 328), (825, 224)),
        box(770, 30, 110, 62, f"{sizes.bands} bands", "at 10 m"),
        arrow((825, 130), (825, 94)),
        text(95, 150, "clouds and all;", colour="#666"),
        text(95, 166, "no mask enters", colour="#666"),
        text(285, 322, "sees neighbouring pixels", colour="#666"),
        text(480, 322, "from here on, pixel by pixel", colour="#666"),
        text(665, 250, "once, whatever is asked", colour="#666"),
        text(760, 395, "again for each date that is asked", colour="#666"),
    )


def halos(sizes: NetworkConfig) -> str:
    """Draw what a tile reads around the pixels it makes, on both grids."""
    core, edge_m = 130, 1200  # to scale
    fine, coarse = (core * m / edge_m for m in (10 * sizes.hr_halo, 30 * sizes.lr_halo))
    left, top, right = 130, 90, 560
    reach = f"{sizes.encoder_reach} of the encoder, {sizes.decoder_reach} of the decoder"
    ground = f"{10 * sizes.hr_halo} m on each side (a tile of {edge_m} m, to scale)"
    return drawing(
        900,
        330,
        frame(left - fine, top - fine, core + 2 * fine, S2, dashed=True),
        frame(left, top, core, S2),
        text(left + core / 2, top + core / 2 + 4, "pixels made", weight="bold"),
        text(left + core / 2, top - fine - 12, "Sentinel-2, 10 m", colour=S2, weight="bold"),
        text(left + core / 2 + 40, top + core + fine + 22, f"halo {sizes.hr_halo} px: {reach}"),
        text(left + core / 2 + 40, top + core + fine + 40, ground),
        frame(right - coarse, top - coarse, core + 2 * coarse, LANDSAT, dashed=True),
        frame(right, top, core, LANDSAT),
        text(right + core / 2, top + core / 2 + 4, "the same ground", weight="bold"),
        text(right + core / 2, top - 48, "Landsat, 30 m", colour=LANDSAT, weight="bold"),
        text(
            right + core / 2,
            top + core + coarse + 22,
            f"halo {sizes.lr_halo} px of its own, {30 * sizes.lr_halo} m on each side",
        ),
    )


def resume() -> str:
    """Draw the states of a tile in a job."""
    wide, y = 150, 50
    labels = (
        ("to be made", "no file in the ledger"), ("computed", "in memory"),
        ("written", "under another name"), ("renamed", "and synced to disk"),
        ("recorded", ".tamrf_job/done/..."),
    )  # fmt: skip
    boxes = [
        box(20 + place * 176, y, wide, 62, *words, colour=S2 if place == 4 else BOTH)
        for place, words in enumerate(labels)
    ]
    arrows = [arrow((170 + place * 176, y + 31), (194 + place * 176, y + 31)) for place in range(4)]
    back = [
        arrow((271 + place * 176, y + 62), (271 + place * 176, 160), (95, 160), (95, 114))
        for place in range(3)
    ]
    words = text(
        271,
        182,
        "killed here: the next run begins with this tile again",
        colour="#666",
        end="start",
    )
    return drawing(900, 210, *boxes, *arrows, *back, words)


DRAWINGS: Mapping[str, Callable[[], str]] = {
    "network.svg": lambda: network(NetworkConfig()),
    "halos.svg": lambda: halos(NetworkConfig()),
    "resume.svg": resume,
}


def main() -> int:
    """Draw all, beside the pages that show them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAWINGS.items():
        (FOLDER / name).write_text(draw(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The figures of README and docs, from results that are kept and the weights that ship.

    python -m studies.figures            # put them where they are marked
    python -m studies.figures --check    # tell where they differ

A page marks a figure as ``<!-- fig:NAME -->1.8<!-- / -->``: what stands between is written here.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results"
WEIGHTS = ROOT / "tamrf_xr/weights/default.safetensors"
STUDIED = ROOT / "studies/results"
INSTALLED = STUDIED / "install.json"
BUFFERS = r"[hl]r_(mean|std|mtf|res)|errors\.half_widths"
"""What of the weights no training sets by its gradient."""
MARK = re.compile(r"(<!-- fig:([\w.-]+) -->)(.*?)(<!-- / -->)", re.DOTALL)


def marked() -> list[Path]:
    """Return the pages that may hold figures."""
    return [
        ROOT / "README.md",
        ROOT / "tamrf_xr/weights/MODEL_CARD.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    ]


@functools.cache
def result(name: str) -> Any:
    """Return the newest result of a benchmark; with a date in its name, that one."""
    found = sorted(RESULTS.glob(f"{name}*.json"))
    if not found:
        raise FileNotFoundError(f"{RESULTS} has no {name}*.json; run python -m benchmarks.{name}")
    return json.loads(found[-1].read_text(encoding="utf-8"))


def parameters() -> int:
    """Count what training sets in the weights that ship: statistics are not counted."""
    with safe_open(WEIGHTS, "np") as file:
        names = [name for name in list(file.keys()) if not re.match(BUFFERS, name)]
        return sum(file.get_tensor(name).size for name in names)


def _engine_table() -> str:
    """Write the stages of two checkouts, and the ratio."""
    seconds = result("engine-cpu")["seconds"]
    head = "\n| | 23 November | now | |\n|---|---|---|---|\n"
    rows = [
        f"| {name} | {seconds['other'][name]:.1f} s | {took:.1f} s | "
        f"{seconds['other / this'][name]:.2f} x |\n"
        for name, took in seconds["this"].items()
    ]
    return head + "".join(rows)


def _scaling_table() -> str:
    """Write the rows of the benchmark: first of query dates, then of acquisitions."""
    kept = result("scaling-cpu")
    dates = [row for row in kept["dates"] if _fresh(row, kept["queries"])]
    head = (
        "| acquisitions (Sentinel-2 + Landsat) | query dates | encode | answer | s per km² "
        "| s per km² and query date |\n|---|---|---|---|---|---|\n"
    )
    return (
        "\n"
        + head
        + "".join(
            f"| {row['hr_dates']} + {row['lr_dates']} | {row['queries']} | {row['encode_s']:.1f} s "
            f"| {row['answer_s']:.1f} s | {row['s_per_km2']:.2f} | {row['s_per_km2_query']:.3f} |\n"
            for row in [*kept["queries"], *dates, *kept["year"]]
        )
    )


def _fresh(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> bool:
    names = ("hr_dates", "lr_dates", "queries")
    return all(any(row[name] != other[name] for name in names) for other in rows)


def _stages_table() -> str:
    """Write the stages of the network, run plainly and by the package."""
    kept = result("inference-cpu")
    work, total = kept["gflop"], kept["total"]
    plain, ours = kept["seconds"]["eager"], kept["seconds"]["float32"]
    rows = [
        _stage(words, work[name], (plain[name], ours[name]), peak=_peak("float32", what))
        for name, (words, what) in STAGES.items()
    ]
    whole, peak = (total["eager"], total["float32"]), _peak("float32", "matrix product")
    rows.append(_stage("all", sum(work.values()), whole, peak=peak, times=f": **{_speedup()} x**"))
    head = "| stage | work | eager | `tamrf_xr` | GFLOP/s | of this machine's peak |\n"
    return "\n" + head + "|---|---|---|---|---|---|\n" + "".join(rows)


STAGES: Mapping[str, tuple[str, str]] = {
    "hr encoder": ("HR encoder", "convolution"),
    "lr encoder": ("LR encoder", "convolution"),
    "transformer": ("transformer", "matrix product"),
    "attention": ("decoder's attention", "matrix product"),
    "decoder": ("decoder", "convolution"),
}
"""Per stage, its name in print and what it mostly is."""


def _stage(
    words: str, gflop: float, seconds: tuple[float, float], *, peak: float, times: str = ""
) -> str:
    plain, ours = seconds
    speed = gflop / ours
    return (
        f"| {words} | {gflop:.0f} GFLOP | {plain:.1f} s | {ours:.1f} s{times} | {speed:.0f} "
        f"| {100 * speed / peak:.0f} % |\n"
    )


def _speedup() -> str:
    total = result("inference-cpu")["total"]
    return f"{total['eager'] / total['float32']:.1f}"


def _peak(precision: str, what: str) -> float:
    return float(result("scaling-cpu")["peak_gflops"][f"torch.{precision}"][what])


def _loader(threads: int) -> str:
    rows = [row for row in result("loader")["rows"] if row["threads"] == threads]
    return " | ".join(f"{row['per_s']:.1f}" for row in rows)


def _installs() -> str:
    head = "\n| Python | PyTorch | extra | MB on disk | |\n|---|---|---|---|---|\n"
    return head + "".join(
        f"| {row['python']} | {row['torch']} | {row['extra'] or '(none)'} | {row['megabytes']:,} "
        f"| {row['failed'] or 'works'} |\n"
        for row in json.loads(INSTALLED.read_text(encoding="utf-8"))
    )


def _cpu_install() -> str:
    rows = json.loads(INSTALLED.read_text(encoding="utf-8"))
    least = min(row["megabytes"] for row in rows if not row["extra"] and "cpu" in row["torch"])
    return f"{least / 1000:.1f} GB"


def _latent_table() -> str:
    """Write a row a cube and type of numbers."""
    kept = result("latent")
    head = (
        "| cube, kept as | bytes a pixel | of the cube's | of the product's | fuse / decode | RMS "
        "| largest |\n|---|---|---|---|---|---|---|\n"
    )
    rows = [
        _latent_row(f"{cube}, {kind}", kept[cube], kind)
        for cube in ("simulated", "real")
        for kind in ("int8", "bfloat16", "float32")
    ]
    return "\n" + head + "".join(rows)


def _latent_row(name: str, kept: Mapping[str, Any], kind: str) -> str:
    against = "fuse" if kind == "float32" else "float32"
    ratio, off = kept["ratio of bytes"], kept[f"{kind} against {against}"]
    return (
        f"| {name} | {kept['bytes a pixel'][kind]:,.0f} | {ratio[f'{kind} / cube']:.1f} x "
        f"| {ratio[f'{kind} / product']:.1f} x "
        f"| {kept['fuse / decode, seconds of cores'][kind]:.1f} | {off['reflectance, RMS']:.1e} "
        f"| {off['reflectance, largest']:.1e} |\n"
    )


SERIES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Belgium, monthly": ("belgium", ("clear", "clouded")),
    "pair 31UDS, Landsat given": ("pair", ("clear", "clouded", "cut out")),
    "pair 31UDS, reflectance of Landsat": ("pair, landsat", ("clear", "clouded", "cut out")),
    "Tanzania, six bands alone, two years": ("tanzania", ("clear", "clouded", "cut out")),
    "Finland, eight bands, mean of seven fields": ("finland", ("clear", "clouded")),
}
"""Rows of the table of real series by what they are called: in the results, and what is given."""

GIVEN = {
    "clear": "clear dates alone given",
    "clouded": "all other dates given, clouds and all",
    "cut out": "these, their clouds cut out",
}


def studied(name: str) -> Any:
    """Return the newest result of a study."""
    return json.loads(sorted(STUDIED.glob(f"{name}-2*.json"))[-1].read_text("utf-8"))


def _kelvin(row: str, method: str) -> str:
    return f"{studied('temperature')[row][method]:.2f}"


def _of_interpolation() -> str:
    errors = studied("temperature")["all"]
    return f"{errors['network'] / errors['naive']:.2f}"


def _series(name: str) -> list[Mapping[str, Any]]:
    """Return the newest rows of a real series; of Finland, of each field."""
    rows = studied("quality-table").items()
    return [row for known, row in rows if re.fullmatch(rf"{name}( \d)?", known)]


def _quality(name: str, kind: str, method: str = "default") -> tuple[float, float]:
    """Return the ratio to interpolation on a real series: mean, and of the worst band."""
    found = [row[kind][method] for row in _series(name)]
    worst = max(max(one["bands"].values()) for one in found)
    return sum(one["mean"] for one in found) / len(found), worst


def _quality_of(name: str, kind: str) -> str:
    return f"{_quality(name, kind)[0]:.2f}"


def _quality_table() -> str:
    """Write a row a series and what is given: mean over bands (worst band), and the floor."""
    methods = {
        "now": "default", "before": "before", "Whittaker": "whittaker", "harmonic": "harmonic",
    }  # fmt: skip
    head = f"\n| every third clear date left out | {' | '.join(methods)} | floor |\n"
    rows = [head, "|---|---|---|---|---|---|\n"]
    for title, (name, kinds) in SERIES.items():
        floor = _series(name)[0]["floor"] or "-"
        for kind in kinds:
            told = [_quality(name, kind, method) for method in methods.values()]
            now, *others = (f"{mean:.3f} ({worst:.2f})" for mean, worst in told)
            cells = [f"{title}: {GIVEN[kind]}", f"**{now}**", *others, str(floor)]
            rows.append(f"| {' | '.join(cells)} |\n")
    return "".join(rows)


FIGURES: Mapping[str, Callable[[], str]] = {
    "card.parameters": lambda: f"{parameters():,}",
    "card.millions": lambda: f"{parameters() / 1e6:.1f}",
    "card.megabytes": lambda: f"{WEIGHTS.stat().st_size / 1e6:.1f}",
    "checksums.bytes": lambda: f"{_checksums('with') - _checksums('without')}",
    "checksums.of": lambda: f"{_checksums('with') / 1e6:.0f}",
    "checksums.write": lambda: f"{result('checksums')['codec']['ratio']['write_cpu_seconds']:.2f}",
    "checksums.read": lambda: f"{result('checksums')['codec']['ratio']['read_cpu_seconds']:.2f}",
    "checksums.tiles": lambda: f"{result('checksums')['verify']['tiles']:,}",
    "checksums.verify": lambda: f"{result('checksums')['verify']['seconds']:.1f}",
    "door.seconds": lambda: f"{result('door')['lazy']['seconds']:.1f}",
    "door.megabytes": lambda: f"{result('door')['lazy']['peak_megabytes']:.0f}",
    "engine.table": _engine_table,
    "inference.speedup": _speedup,
    "inference.stages": _stages_table,
    "install.cpu": _cpu_install,
    "install.tried": _installs,
    "io.float": lambda: f"{result('io')['this']['read_float']:.2f}",
    "io.int16": lambda: f"{result('io')['this']['read_int16']:.2f}",
    # The later run had eight other processes beside it: its size counts, its time does not.
    "laziness.seconds": lambda: f"{result('laziness-2026-11-23')['stored']['seconds']:.1f}",
    "laziness.graph": lambda: f"{result('laziness')['stored']['graph_megabytes']:.1f}",
    "latent.table": _latent_table,
    "loader.1": lambda: _loader(1),
    "loader.4": lambda: _loader(4),
    "memory.narrow": lambda: f"{result('memory-tamrf')['runs'][0]['peak_gib']:.1f}",
    "memory.wide": lambda: f"{result('memory-tamrf')['runs'][1]['peak_gib']:.1f}",
    "peak.bfloat16.convolution": lambda: f"{_peak('bfloat16', 'convolution'):.0f}",
    "peak.bfloat16.product": lambda: f"{_peak('bfloat16', 'matrix product'):.0f}",
    "peak.float32.convolution": lambda: f"{_peak('float32', 'convolution'):.0f}",
    "peak.float32.product": lambda: f"{_peak('float32', 'matrix product'):.0f}",
    "quality.belgium": lambda: _quality_of("belgium", "clouded"),
    "quality.pair": lambda: _quality_of("pair", "clouded"),
    "quality.pair.cut": lambda: _quality_of("pair", "cut out"),
    "quality.landsat": lambda: _quality_of("pair, landsat", "clouded"),
    "quality.tanzania": lambda: _quality_of("tanzania", "clouded"),
    "quality.tanzania.cut": lambda: _quality_of("tanzania", "cut out"),
    "quality.table": _quality_table,
    "scaling.table": _scaling_table,
    "scheduling.distributed": lambda: _scheduling("distributed", 1),
    "scheduling.threads": lambda: _scheduling("threads", 2),
    "temperature.ratio": _of_interpolation,
    "temperature.scenes": lambda: _kelvin("all", "network"),
    "temperature.median": lambda: _kelvin("median ratio", "network"),
    "temperature.detail": lambda: _kelvin("detail", "network"),
    "temperature.pair": lambda: _kelvin("pair, clear", "network"),
    "temperature.pair.clouded": lambda: _kelvin("pair, clouded", "network"),
    "training.border": lambda: f"{result('training-step')['ratio']:.2f}",
}
"""Every figure by the name that pages mark it with."""


def _checksums(how: str) -> int:
    return int(result("checksums")["codec"][how]["bytes"])


def _scheduling(where: str, digits: int) -> str:
    return f"{result('scheduling')[where]['scheduling_ms_per_tile']:.{digits}f}"


def filled(text: str) -> str:
    """Return a page with its figures as they are."""
    return MARK.sub(lambda match: match[1] + FIGURES[match[2]]() + match[4], text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill the pages, or tell which are not."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing, exit with 1")
    check = parser.parse_args(arguments).check
    stale = [
        path for path in marked() if filled(path.read_text("utf-8")) != path.read_text("utf-8")
    ]
    for path in stale:
        print(f"{path.relative_to(ROOT)}: {'stale' if check else 'filled'}")
        if not check:
            path.write_text(filled(path.read_text("utf-8")), encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())

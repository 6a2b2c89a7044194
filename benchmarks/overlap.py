"""Reading, computing and writing of a job, tile by tile: what waits for what.

``python -m benchmarks.overlap`` fuses a simulated scene with the default network and random weights
(about two minutes on two cores), prints how much of the time the network computes, and keeps the
figures and a picture (``docs/overlap.png``). ``--device cuda`` for a GPU.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path
from unittest import mock

import pandas as pd

import tamrf_xr
from benchmarks.busy import Busy
from benchmarks.harness import HERE, Row, finish, parse
from benchmarks.scenes import noise_cube, random_model
from tamrf_xr.scale import job
from tamrf_xr.scale.progress import Progress
from tamrf_xr.scale.worker import STAGES, Outcome, Span
from tamrf_xr.store import lay_out

PICTURE = HERE / "docs" / "overlap.png"
COLOURS = {"reading": "#4477aa", "computing": "#ccbb44", "writing": "#aa3377"}


def main(arguments: list[str] | None = None) -> Row:
    """Run a job, print, keep."""
    options = parse(
        __doc__, arguments, shape=((330, 660), (60, 120)), tile=(165, 60), dates=((20, 12), (4, 3)),
        queries=(12, 2), device=("cpu", "cpu"), method=("tamrf", "linear"),
    )  # fmt: skip
    busy = Busy(options.device)
    with busy.watching():
        outcomes = run(options)
    figures = vars(options) | summarize(outcomes)
    figures["device_share"] = sum(busy.seconds().values()) / figures["seconds"]
    print(
        f"{figures['tiles']} tiles in {figures['seconds']:.1f} s: computing "
        f"{figures['computing_share']:.1%} of the time, the network on the device's own clock "
        f"{figures['device_share']:.1%}; of reading and writing "
        f"{figures['hidden_share']:.1%} went on beside it"
    )
    if not options.tiny:
        draw(outcomes, PICTURE)
    return finish(f"overlap-{options.method}-{options.device}", figures, options)


class _Recorder(Progress):
    """Keeps what became of each tile."""

    outcomes: list[Outcome]

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        super().add(outcome)


def run(options: argparse.Namespace) -> list[Outcome]:
    """Fuse a simulated scene, and return what became of each tile."""
    _Recorder.outcomes = []
    recorded = mock.patch.object(job, "Progress", _Recorder)  # run_job gives sums alone
    with recorded, tempfile.TemporaryDirectory() as folder:
        hr, lr = options.dates
        lay_out(noise_cube(options.shape, hr=hr, lr=lr), Path(folder) / "in.zarr").compute()
        tamrf_xr.run_job(
            tamrf_xr.open_cube(Path(folder) / "in.zarr"),
            Path(folder) / "out.zarr",
            pd.date_range("2022-01-10", "2022-12-20", periods=options.queries).floor("D"),
            method=options.method,
            model=random_model(Path(folder)) if options.method == "tamrf" else "default",
            device=options.device,
            tile=options.tile,
            progress=not options.tiny,
        )
    return _Recorder.outcomes


def summarize(outcomes: Iterable[Outcome]) -> Row:
    """Return seconds of each stage, and how they lie beside each other."""
    spans = [span for outcome in outcomes for span in outcome.spans]
    by_stage = {stage: [span for span in spans if span.stage == stage] for stage in STAGES}
    busy = merged(by_stage["computing"])
    beside = [span for stage in ("reading", "writing") for span in by_stage[stage]]
    hidden = sum(
        max(0.0, min(span.stop, stop) - max(span.start, start))
        for span in beside
        for start, stop in busy
    )
    elapsed = max(span.stop for span in spans) - min(span.start for span in spans)
    return {
        "tiles": len(by_stage["writing"]),
        "seconds": elapsed,
        "stage_seconds": {stage: sum(map(_length, by_stage[stage])) for stage in STAGES},
        "computing_share": sum(stop - start for start, stop in busy) / elapsed,
        "hidden_share": hidden / sum(map(_length, beside)),
    }


def _length(span: Span) -> float:
    return span.stop - span.start


def merged(spans: Iterable[Span]) -> list[tuple[float, float]]:
    """Merge spans that overlap."""
    out: list[tuple[float, float]] = []
    for start, stop in sorted((span.start, span.stop) for span in spans):
        if out and start <= out[-1][1]:
            out[-1] = out[-1][0], max(out[-1][1], stop)
        else:
            out.append((start, stop))
    return out


def draw(outcomes: list[Outcome], path: Path) -> None:
    """Draw a row per tile, a bar per stage."""
    from matplotlib.figure import Figure

    ordered = sorted(outcomes, key=lambda outcome: outcome.spans[0].start)
    first = ordered[0].spans[0].start
    figure = Figure(figsize=(8, 0.9 + 0.25 * len(ordered)), layout="constrained")
    axes = figure.subplots()
    for row, outcome in enumerate(ordered):
        for span in outcome.spans:
            axes.barh(
                row, _length(span), left=span.start - first, color=COLOURS[span.stage], height=0.8
            )
    axes.set(xlabel="seconds", ylabel="tile", yticks=range(len(ordered)))
    axes.set_yticklabels([str(outcome.index) for outcome in ordered], fontsize=7)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    for stage, colour in COLOURS.items():
        axes.bar(0, 0, color=colour, label=stage)
    axes.legend(ncols=3, frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1))
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()

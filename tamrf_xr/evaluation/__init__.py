"""Evaluate methods on cubes: split, score, and whole tasks of the paper with their report.

`split` gives a cube and the dates to ask, `score` compares a product with acquisitions, and
`evaluate` runs a task of `TASKS` on many cubes and methods, resumes, and writes a report.
"""

from __future__ import annotations

from tamrf_xr.evaluation.compensate import compensate
from tamrf_xr.evaluation.protocol import evaluate
from tamrf_xr.evaluation.score import Scores, Scoring, score
from tamrf_xr.evaluation.split import SplitSettings, split
from tamrf_xr.evaluation.tasks import TASKS, Task

__all__ = [
    "TASKS",
    "Scores",
    "Scoring",
    "SplitSettings",
    "Task",
    "compensate",
    "evaluate",
    "score",
    "split",
]

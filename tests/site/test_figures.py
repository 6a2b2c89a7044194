"""Figures of README, docs and model card are those of the results and of the weights."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageSequence

from studies import before_after, figures
from tamrf_xr.model.checkpoint import load_model

TEXT = "a <!-- fig:door.seconds -->0<!-- / --> b"


@pytest.mark.parametrize("page", figures.marked(), ids=lambda path: path.name)
def test_pages_hold_the_figures_of_the_results(page):
    text = page.read_text(encoding="utf-8")
    assert figures.filled(text) == text, "run python -m studies.figures"


def test_every_figure_is_on_a_page():
    texts = [page.read_text(encoding="utf-8") for page in figures.marked()]
    used = {match[2] for text in texts for match in figures.MARK.finditer(text)}
    assert used == set(figures.FIGURES)


def test_a_stale_figure_is_told_and_filled(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text(TEXT)
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    monkeypatch.setattr(figures, "marked", lambda: [page])
    assert figures.main(["--check"]) == 1
    assert page.read_text() == TEXT
    assert figures.main([]) == 0
    assert figures.main(["--check"]) == 0
    seconds = figures.result("door")["lazy"]["seconds"]
    assert page.read_text() == TEXT.replace("0<", f"{seconds:.1f}<")
    assert capsys.readouterr().out == "page.md: stale\npage.md: filled\n"


def test_parameters_are_those_that_training_sets():
    network = load_model(figures.WEIGHTS)
    assert figures.parameters() == sum(one.numel() for one in network.parameters())


def test_the_moving_picture_is_of_a_year_and_small(tmp_path):
    words = [str(tmp_path / "a.webp"), "--size", "30", "--step", "150D", "--method", "linear"]
    assert before_after.main(words) == 0
    with Image.open(tmp_path / "a.webp") as made:
        assert (made.n_frames, made.size) == (3, (728, 390))
        first, second, _ = [np.asarray(one.convert("RGB")) for one in ImageSequence.Iterator(made)]
    assert (first[40:, 370:] != second[40:, 370:]).mean() > 0.3
    kept = figures.ROOT / "docs/before-after.webp"
    assert kept.stat().st_size < 1.5e6
    with Image.open(kept) as picture:
        assert picture.n_frames == 23

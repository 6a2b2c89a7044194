"""The network that the authors of TAMRF-SITS published: fetched once, converted once, kept."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath

from tamrf_xr.archives import extract, is_archive
from tamrf_xr.errors import DownloadError
from tamrf_xr.model.checkpoint import load_model, save_model
from tamrf_xr.paths import cache_folder
from tamrf_xr.zenodo import SITE, Record, RemoteFile, fetch, read_record

RECORD = 17474541
CHECKPOINT, CONFIG = "968639_s1t3.ckpt", "hydra_config"
"""Names in the record, be it as files or inside archives."""

MANUAL = (
    f"by hand: download {CHECKPOINT} and {CONFIG} from {SITE}/{RECORD} with a browser, then "
    f"`tamrf-xr weights convert {CHECKPOINT} published.safetensors --config {CONFIG}`, and name "
    "that file as the model"
)


def published_weights(*, progress: bool = False) -> Path:
    """Return the published network as safetensors; fetched and converted where it is not there.

    Parameters
    ----------
    progress
        Show a bar.

    Returns
    -------
    pathlib.Path
        In the user's cache.

    Raises
    ------
    DownloadError
        If it cannot be fetched, or the record does not hold it.
    ModelError
        If what is fetched is not the network.
    """
    kept = cache_folder() / "published" / f"{Path(CHECKPOINT).stem}.safetensors"
    if not kept.exists():
        record = published_record()
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            checkpoint, config = _parts(record, Path(folder), progress=progress)
            about = {"record": record.number, "citation": record.citation, "file": CHECKPOINT}
            about |= {"license": record.license}
            save_model(load_model(checkpoint, config), kept, overwrite=True, metadata=about)
    return kept


def published_record() -> Record:
    """Return what Zenodo says of the record of the network: its citation, its licence."""
    return read_record(RECORD, manual=MANUAL)


def _parts(record: Record, folder: Path, *, progress: bool) -> tuple[Path, Path]:
    """Fetch what may hold the checkpoint and its configuration, until both are there."""
    for file in sorted(record.files, key=_rank):
        if file.name == CHECKPOINT or _is_yaml(file.name) or is_archive(file.name):
            _unpack(_fetched(file, progress=progress), folder)
        checkpoint = next(folder.rglob(CHECKPOINT), None)
        configs = [path.parent for path in folder.rglob("config.yaml")]
        if checkpoint is not None and configs:
            return checkpoint, min(configs, key=lambda path: len(path.parts))
    names = ", ".join(file.name for file in record.files) or "nothing"
    raise DownloadError(
        f"record {record.number} does not hold {CHECKPOINT} with a config.yaml, in files or in "
        f"archives; it holds {names}; {MANUAL}"
    )


def _rank(file: RemoteFile) -> tuple[bool, bool, int]:
    """Order files: those of the names themselves, archives that sound like it, small ones."""
    hints = (Path(CHECKPOINT).stem, CONFIG, "model", "weights", "pretrained", "checkpoint")
    sounds = any(hint in file.name.lower() for hint in hints)
    return is_archive(file.name), not sounds, file.size


def _is_yaml(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _fetched(file: RemoteFile, *, progress: bool) -> Path:
    folder = cache_folder() / "zenodo" / str(RECORD)
    return fetch(file, folder, manual=MANUAL, progress=progress)


def _unpack(file: Path, folder: Path) -> None:
    """Put the checkpoint and the files of the configuration into a folder."""
    if not is_archive(file.name):
        place = folder / (CONFIG if _is_yaml(file.name) else "") / file.name
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(file)
        return
    extract(file, folder / file.name.partition(".")[0], _is_part)


def _is_part(name: PurePosixPath) -> bool:
    return name.name == CHECKPOINT or (_is_yaml(name.name) and CONFIG in name.parts)

"""Every error the package raises: a `TamrfError` and the builtin that fits; and its warnings."""

from __future__ import annotations


class TamrfError(Exception):
    """Base of every error raised on purpose by tamrf_xr."""


class CubeError(TamrfError, ValueError):
    """Data that is not a cube, or a cube that breaks the schema."""


class DateError(TamrfError, ValueError):
    """Query dates that cannot be read, or that no acquisition can serve."""


class MethodError(TamrfError, ValueError):
    """A method that does not exist, or that lacks what it needs."""


class OptionError(TamrfError, ValueError):
    """An option whose value has no meaning."""


class LatentError(TamrfError, ValueError):
    """Data that is no latent cube, or no longer the whole of one."""


class ModelError(TamrfError, ValueError):
    """A checkpoint that cannot be read, or that contradicts its configuration."""


class IngestError(TamrfError, ValueError):
    """A source whose content is not what its layout promises."""


class SourceNotFoundError(TamrfError, FileNotFoundError):
    """A file or store that is named but is not there."""

    def __str__(self) -> str:
        """Show the message alone, without the errno pair of `OSError`."""
        return str(self.args[0]) if self.args else ""


class DownloadError(TamrfError, OSError):
    """A file of others that cannot be fetched, or is not the one that was promised."""

    def __str__(self) -> str:
        """Show the message alone, without the errno pair of `OSError`."""
        return str(self.args[0]) if self.args else ""


class OutputExistsError(TamrfError, FileExistsError):
    """An output that exists and may not be overwritten."""

    def __str__(self) -> str:
        """Show the message alone, without the errno pair of `OSError`."""
        return str(self.args[0]) if self.args else ""


class MemoryBudgetError(TamrfError, MemoryError):
    """A plan that needs more memory than there is."""


class TileError(TamrfError, RuntimeError):
    """A tile that failed; the message tells which one, where, and why."""


class JobError(TamrfError, RuntimeError):
    """A job that may not run: its store holds another job, or another process is at it."""


class StoreGoneError(TamrfError, FileNotFoundError):
    """A store that a job writes to, and that is not there any more."""

    def __str__(self) -> str:
        """Show the message alone, without the errno pair of `OSError`."""
        return str(self.args[0]) if self.args else ""


class StoreError(TamrfError, OSError):
    """An object store that refuses, fails or cannot be reached; its errno tells which."""


class StoreReplacedError(JobError):
    """A store that another job has laid out anew."""


class InputChangedError(TamrfError, RuntimeError):
    """An input that is gone, cut short or another one since the job on it began."""


class TamrfWarning(UserWarning):
    """Base of every warning given on purpose by tamrf_xr."""


class SourceWarning(TamrfWarning):
    """A source that lacks a part of what it is asked for; the cube has no data there."""


class RereadWarning(TamrfWarning):
    """A job that reads its input many times, for its tiles and the chunks of the input differ."""


class TimingWarning(TamrfWarning):
    """A series just beyond the length up to which days are counted in another way."""


class StoreFullError(TamrfError, OSError):
    """A store with no room left for the next tile."""

    def __str__(self) -> str:
        """Show the message alone, without the errno pair of `OSError`."""
        return str(self.args[0]) if self.args else ""

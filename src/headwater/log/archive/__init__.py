"""The long-term archive: sealed ranges of topics as Parquet files, and a log that is read from there on.

    hw archive:  log ──committed records──► files ──► manifest, written last       (`operations.archiving`)
    readers:     archive ──where the log begins later──► log, as one sequence      (`log`, `reading`)

Nothing else in headwater imports pyarrow.
"""

try:
    import pyarrow as _installed  # noqa: F401 -- asked for here once, so that the answer is a sentence
except ImportError as error:
    from headwater.errors import Misuse

    raise Misuse("an archive needs the package pyarrow: pip install 'headwater[archive]'") from error

from headwater.log.archive.archive import Archive, open_archive
from headwater.log.archive.log import ArchivedLog

__all__ = ["Archive", "ArchivedLog", "open_archive"]

"""Read models that a class declares: the class is a table, an instance a row, events change rows.

declare -> gathering (which rows does a batch touch) -> folding (in order, in memory) -> the store, one
transaction with the position; waiting: a client's `after=receipt`
"""

from headwater.projections.declare import DELETED, Deleted, Projection
from headwater.projections.dedupe import by_hash, by_id, by_sequence
from headwater.projections.folding import Rows
from headwater.projections.sink import Sink

__all__ = ["DELETED", "Deleted", "Projection", "Rows", "Sink", "by_hash", "by_id", "by_sequence"]

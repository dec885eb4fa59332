"""Audits a run: what its clients were told, against what the log and the read models hold in the end.

    journal = Journal()
    with app.run(url) as shop:
        client = RecordedShop(shop, app, journal, "client 1")
        ...                                             # anything, with any faults
    violations = audit(journal.history(), collect(log, app), states=state_folds(app))
    assert not violations, report(violations)

An audit is pure: a history (`history`) and the final content of topics (`contents`) are plain data, and each check
is a function of these to violations. `Invariant` names what is checked; each check stands in the module of its
concern. `journal` and the recorded shops write a history down, `collecting` reads topics and rows, `folding` says what
states and rows should be.

What is not known may have happened or not, so a command without an answer may be in the log; but in the end everybody
who asks must be told the same of it, and the log must say so.
"""

from __future__ import annotations

from headwater.testing.audit.auditing import audit
from headwater.testing.audit.collecting import collect, collect_rows, collect_topics
from headwater.testing.audit.contents import Contents, ModelRows
from headwater.testing.audit.folding import models_of, rows_folds, state_folds
from headwater.testing.audit.history import History
from headwater.testing.audit.journal import Journal
from headwater.testing.audit.recorded_async_shop import RecordedAsyncShop
from headwater.testing.audit.recorded_shop import RecordedShop
from headwater.testing.audit.violations import Invariant, Violation, report

__all__ = [
    "Contents",
    "History",
    "Invariant",
    "Journal",
    "ModelRows",
    "RecordedAsyncShop",
    "RecordedShop",
    "Violation",
    "audit",
    "collect",
    "collect_rows",
    "collect_topics",
    "models_of",
    "report",
    "rows_folds",
    "state_folds",
]

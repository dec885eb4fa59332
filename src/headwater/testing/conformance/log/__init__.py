"""The conformance suite of the log port.

Subclass it in a test module and give it a fixture that opens the log:

    class TestMyLog(LogConformance):
        @pytest.fixture
        def make_log(self):
            opened = []
            def make() -> Log:
                opened.append(MyLog(url, session_timeout_s=self.session_timeout_s))
                return opened[-1]
            yield make
            for log in opened:
                log.close()

Every call opens the same log again, as another process would: what one handle writes, the other sees. Topics
and groups have fresh names in every test, so one server serves all of them; nothing is cleaned up.
"""

from __future__ import annotations

from headwater.testing.conformance.log.groups import GroupConformance
from headwater.testing.conformance.log.reading import ReadingConformance
from headwater.testing.conformance.log.records import RecordConformance
from headwater.testing.conformance.log.topics import TopicConformance
from headwater.testing.conformance.log.transactions import TransactionConformance

__all__ = ["LogConformance"]


class LogConformance(TopicConformance, RecordConformance, ReadingConformance, TransactionConformance, GroupConformance):
    """Everything that the port's docstrings promise. Class attributes to set: see `waiting.Expectations`."""

"""Questions to views as they were: answered in this process, from the log, in memory that is let go afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from headwater.environment import Environment
from headwater.log.port import Log, TopicPartition
from headwater.schemas.topics import Codecs
from headwater.stores.port import Answer
from headwater.views.asking import answer
from headwater.views.changes import TooMuchToReplay, positions_in
from headwater.views.file import MEMORY, ViewFile
from headwater.views.moments import Estimate, Moment
from headwater.views.replaying import count_of, ends_of, replay

if TYPE_CHECKING:
    from headwater.client.views import Views
    from headwater.views.runner import ViewRunner


class PastViews:
    """Arguments: views: those of the app; log; codecs; environment."""

    def __init__(self, views: Views, log: Log, codecs: Codecs, environment: Environment) -> None:
        self._views, self._log, self._codecs, self._environment = views, log, codecs, environment

    def estimate(self, sql: str, moment: Moment | str) -> Estimate:
        """What an answer costs. Raises: as `answer`."""
        needed, moment = self._needed(sql, moment)
        if is_kept(needed):
            return Estimate(0, ())
        counts = [count_of(self._log, ends_of(one.view, self._log, moment)) for one in needed.values()]
        return Estimate(sum(counts), tuple(one.view.name for one in needed.values()))

    def answer(
        self, sql: str, arguments: Sequence[object], moment: Moment | str, timeout_s: float | None, most: int
    ) -> Answer:
        """The answer as it was. Arguments: moment: or the text of a position; most: records to read.

        Raises: Misuse: not a question, or no moment; more records would have to be read. Unavailable."""
        needed, moment = self._needed(sql, moment)
        if is_kept(needed):
            for one in needed.values():
                ends_of(one.view, self._log, moment)  # whether there is such a moment
            return self._views.past_answer(sql, arguments, timeout_s, moment)
        ends = {name: ends_of(one.view, self._log, moment) for name, one in needed.items()}
        records = sum(count_of(self._log, one) for one in ends.values())
        if records > most:
            raise TooMuchToReplay(records, most)
        with closing(ViewFile(MEMORY)) as file:
            for name, one in needed.items():
                replay(one.view, self._log, file, moment, ends[name], self._codecs, self._environment)
            with file.aside() as connection:
                self._views.prepare(connection, sql)
                found = answer(connection, sql, arguments, timeout_s)
                return Answer(found.columns, iter(list(found)))

    def positions(self, sql: str, text: str) -> dict[str, dict[TopicPartition, int]]:
        """What the text of a position says of the views of a question, by name in lower case. Raises: Misuse."""
        return positions_in(text, self._views.needed(sql), self._log.id)

    def _needed(self, sql: str, moment: Moment | str) -> tuple[dict[str, ViewRunner], Moment]:
        needed = self._views.needed(sql)
        if isinstance(moment, str):
            moment = Moment(positions=positions_in(moment, needed, self._log.id))
        return needed, moment


def is_kept(needed: Mapping[str, ViewRunner]) -> bool:
    """Whether all views of a question keep what they were."""
    return bool(needed) and all(one.view.history for one in needed.values())

"""Dead letters as work: what there is, grouped by what went wrong; asking for a retry or a discard; what came of it.

Nothing here changes a read model or a process. What is asked for is a row beside its rows, or a record of its held
topic, which the owner of the partition carries out (`projections.retrying`, `readers.errands`); the answer is a line of
the audit.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from headwater.environment import Environment
from headwater.errors import Misuse, Unavailable
from headwater.failures.held import Action, Asked, Audit, HeldRecord
from headwater.failures.letters import letter_id
from headwater.operations.deadletters_places import InStore, Place
from headwater.projections.read_model import ReadModel
from headwater.stores.port import Store

FIRST_LOOK_S, LAST_LOOK_S = 0.05, 0.5

NOTHING = "nothing to do"
"""The step of one that was no dead letter when it was worked off."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter. Arguments: reader: what its read model is called; group: of its reader; row; waiting: how many
    records wait behind it."""

    reader: str
    group: str
    row: HeldRecord
    waiting: int

    @property
    def id(self) -> str:
        return letter_id(self.group, self.row.topic, self.row.partition, self.row.record_offset)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Dead letters with one reason. Arguments: letters: how many; waiting: records behind them; first, last: when one
    of them failed for the first time, and when one failed last; example: the last of them."""

    reader: str
    stage: str
    handler: str
    error: str
    letters: int
    waiting: int
    first: datetime | None
    last: datetime | None
    example: Letter


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters are meant: those with one of each; of what is empty, whatever it is.

    Arguments: ids, readers, handlers, errors, keys: of the letters."""

    ids: Collection[str] = ()
    readers: Collection[str] = ()
    handlers: Collection[str] = ()
    errors: Collection[str] = ()
    keys: Collection[str] = ()

    def has(self, letter: Letter) -> bool:
        row = letter.row
        return (
            (not self.ids or letter.id in self.ids)
            and (not self.readers or letter.reader in self.readers)
            and (not self.handlers or row.handler in self.handlers)
            and (not self.errors or row.error in self.errors)
            and (not self.keys or row.key in [key.encode() for key in self.keys])
        )


class DeadLetters:
    """Those of the readers of an app. Arguments: readers: by what each is called."""

    def __init__(self, readers: Mapping[str, Place], environment: Environment) -> None:
        self._readers, self._environment = readers, environment

    @classmethod
    def of_models(cls, store: Store, models: Sequence[ReadModel], environment: Environment) -> DeadLetters:
        """Of read models alone."""
        return cls({model.title: InStore(store, model.runner, environment) for model in models}, environment)

    def letters(self, selection: Selection) -> list[Letter]:
        """In the order in which they are to be tried: of each partition from the first offset on.

        Raises: Misuse: an id that is none of a letter here. Unavailable: of the store.
        """
        found, missing = self._found(selection)
        if missing:
            raise no_letter(missing)
        return found

    def letters_and_settled(self, selection: Selection) -> tuple[list[Letter], dict[str, Audit]]:
        """As `letters`; and of each id that is none of a letter any more, the last step that the audit has of it.

        Raises: Misuse: an id that the audit does not have either. Unavailable: of the store.
        """
        found, missing = self._found(selection)
        settled: dict[str, Audit] = {}
        for title, line in self.audit() if missing else ():
            id = letter_id(self.group(title), line.topic, line.partition, line.record_offset)
            if id in missing and line.step != NOTHING:
                settled[id] = line
        if missing - settled.keys():
            raise no_letter(missing - settled.keys())
        return found, settled

    def troubles(self, selection: Selection) -> list[Trouble]:
        """Grouped by reader, handler and error, the largest first."""
        groups: dict[tuple[str, str, str, str], list[Letter]] = {}
        for letter in self.letters(selection):
            key = letter.reader, letter.row.stage, letter.row.handler, letter.row.error
            groups.setdefault(key, []).append(letter)
        found = [_trouble(*key, letters) for key, letters in groups.items()]
        return sorted(found, key=lambda one: (-one.letters, one.reader, one.handler, one.error))

    def ask(self, letter: Letter, action: Action, *, who: str, reason: str, value: bytes | None = None) -> Asked:
        """Asks for something to be done with a letter. Arguments: value: takes the place of its own (None: it stays).

        Returns: what was asked. Raises: Unavailable.
        """
        row, now = letter.row, self._environment.now()
        place = row.topic, row.partition, row.record_offset
        asked = Asked(self._environment.new_id(), action, *place, value is not None, value, who, reason, now)
        self._readers[letter.reader].ask(asked)
        return asked

    def outcome(self, letter: Letter, asked: Asked, timeout_s: float) -> Audit:
        """What came of what was asked. Raises: Unavailable: nobody has done it in time; it stays asked for."""
        deadline_s, pause = self._environment.monotonic_s() + timeout_s, threading.Event()
        place, pause_s = self._readers[letter.reader], FIRST_LOOK_S
        while (line := place.line(asked)) is None:
            if self._environment.monotonic_s() > deadline_s:
                raise Unavailable(
                    f"nobody has done what was asked for {letter.id} within {timeout_s:g} s; it stays asked for, and "
                    f"is done by the process that owns the partition ({place.alive()})"
                )
            pause.wait(pause_s)
            pause_s = min(2 * pause_s, LAST_LOOK_S)
        return line

    def work(
        self,
        letters: Sequence[Letter],
        action: Action,
        *,
        who: str,
        reason: str,
        per_s: float,
        timeout_s: float,
        value: bytes | None = None,
    ) -> Iterator[tuple[Letter, Audit]]:
        """Asks for all of them, in order, and gives the outcome of each as it comes.

        Arguments: per_s: at most so many are asked for in a second; timeout_s: to wait for each outcome.
        Raises: Unavailable: nobody does it; those that were asked for stay so.
        """
        pause, waiting = threading.Event(), list[tuple[Letter, Asked]]()
        begun_s = self._environment.monotonic_s()
        for number, letter in enumerate(letters):
            early_s = begun_s + number / per_s - self._environment.monotonic_s()
            if early_s > 0:
                pause.wait(early_s)
            waiting.append((letter, self.ask(letter, action, who=who, reason=reason, value=value)))
            if len(waiting) > per_s:  # not far ahead of who carries it out
                first, asked = waiting.pop(0)
                yield first, self.outcome(first, asked, timeout_s)
        for letter, asked in waiting:
            yield letter, self.outcome(letter, asked, timeout_s)

    def group(self, reader: str) -> str:
        """The consumer group of a reader."""
        return self._readers[reader].group

    def audit(self) -> list[tuple[str, Audit]]:
        """Every step with its reader, the oldest first."""
        lines = [(title, line) for title, place in self._readers.items() for line in place.audit()]
        return sorted(lines, key=lambda one: one[1].at)

    def _found(self, selection: Selection) -> tuple[list[Letter], set[str]]:
        """Those that are meant, and the ids that are none of a letter here."""
        found = [letter for title in self._readers for letter in self._of(title)]
        missing = set(selection.ids) - {letter.id for letter in found}
        return [letter for letter in found if selection.has(letter)], missing

    def _of(self, title: str) -> list[Letter]:
        place = self._readers[title]
        rows = place.held()
        waiting: dict[tuple[str, int, bytes | None], int] = {}
        for row in rows:
            if not row.failed:
                key = row.topic, row.partition, row.key
                waiting[key] = waiting.get(key, 0) + 1
        failed = [row for row in rows if row.failed]
        return [
            Letter(title, place.group, row, waiting.get((row.topic, row.partition, row.held_key), 0)) for row in failed
        ]


def no_letter(ids: Collection[str]) -> Misuse:
    return Misuse(f"there is no dead letter {', '.join(sorted(ids))} (any more)")


def _trouble(reader: str, stage: str, handler: str, error: str, letters: list[Letter]) -> Trouble:
    firsts = [one.row.first_failed for one in letters if one.row.first_failed is not None]
    lasts = [one.row.last_failed for one in letters if one.row.last_failed is not None]
    example = max(letters, key=lambda one: (one.row.last_failed is not None, one.row.last_failed))
    waiting = sum(one.waiting for one in letters)
    first, last = min(firsts, default=None), max(lasts, default=None)
    return Trouble(reader, stage, handler, error, len(letters), waiting, first, last, example)

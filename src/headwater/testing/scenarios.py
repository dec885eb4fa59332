"""Scenarios of aggregates: events, then commands, and what must come of each. Made by `given`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, Self, TypeVar, cast

from headwater.client.receipts import Sending
from headwater.entities.aggregate import Aggregate
from headwater.errors import Failed, HeadwaterError, Misuse
from headwater.messages.declare import Command, Event, key_of
from headwater.messages.envelope import Recorded
from headwater.messages.rejection import Rejected
from headwater.testing.comparing import differences, field_differences, listed, shown
from headwater.testing.playing import Outcome, PlayedAggregate
from headwater.testing.stage import Stage
from headwater.testing.telling import Story
from headwater.testing.writing import Happened

E = TypeVar("E", bound=Event)


class AggregateScenario(Generic[E]):
    """What happens to an aggregate's entities when they are asked for something."""

    def __init__(self, aggregate: type[Aggregate[E]], given: Sequence[Happened], stage: Stage) -> None:
        __tracebackhide__ = True
        self._story, self._stage = Story(aggregate.__name__, given), stage
        self._played = PlayedAggregate(aggregate, stage)
        self._outcome: Outcome | None = None
        self._open = False
        self._entity_id = key_of(given[-1].event) if given else None
        try:
            self._played.append(given)
        except Misuse:
            raise
        except HeadwaterError as error:
            self._story.fail("events that can have happened", shown(error))

    @property
    def events(self) -> list[Recorded[E]]:
        """What the last command appended, with meta: for what `then` does not say."""
        __tracebackhide__ = True
        return cast("list[Recorded[E]]", list(self._accepted("events").events))

    def when(
        self,
        command: Command,
        *,
        actor: str | None = None,
        time: datetime | None = None,
        command_id: str | None = None,
        expected_version: int | None = None,
    ) -> Self:
        """Asks for something; the arguments are those of `Shop.send`. Say next what must come of it.

        Raises: AssertionError: an earlier command was refused and the test did not say so.
        """
        __tracebackhide__ = True
        self._settle("an accepted command")
        if not isinstance(command, Command):
            raise Misuse(f"when({command!r}): an aggregate is given a command")
        self._story.when(shown(command) + (f", as {actor}" if actor else ""))
        self._entity_id = key_of(command)
        self._outcome = self._played.send(Sending(command, command_id, expected_version, time, actor))
        self._open = True
        self._stage.asked(self, self._story.text)
        return self

    def then(self, *expected: E | type[E]) -> Self:
        """It was accepted and appended exactly these events, in order; a class stands for any event of it."""
        __tracebackhide__ = True
        wanted = listed("event", expected)
        came = [recorded.event for recorded in self._accepted(wanted).events]
        found = differences("event", expected, came)
        if found:
            self._story.fail(wanted, listed("event", came), found)
        return self

    def nothing(self) -> Self:
        """It was accepted, and nothing happened."""
        __tracebackhide__ = True
        return self.then()

    def repeated(self) -> Self:
        """It had been carried out before under this command id: answered again, and nothing happened."""
        __tracebackhide__ = True
        wanted = "the answer of before, and no event"
        outcome = self._accepted(wanted)
        if not outcome.duplicate or outcome.events:
            came = listed("event", [recorded.event for recorded in outcome.events])
            self._story.fail(wanted, f"an answer of its own, and {came}")
        return self

    def rejects(self, rejection: type[Rejected] | Rejected) -> Self:
        """It was refused: with a rejection of this class, or with an equal one."""
        __tracebackhide__ = True
        error = self._answered().error
        if isinstance(rejection, type):
            if not isinstance(error, rejection):
                self._story.fail(f"a rejection, {shown(rejection)}", self._came())
        elif type(error) is not type(rejection):
            self._story.fail(f"a rejection, {shown(rejection)}", self._came())
        elif error.args != rejection.args:
            fields = {name: vars(rejection)[name] for name in fields_of(rejection)}
            self._story.fail(
                f"a rejection, {shown(rejection)}", self._came(), field_differences(fields, as_values(error))
            )
        return self

    def fails(self, error: type[HeadwaterError] = Failed, *, saying: str = "") -> Self:
        """It was not carried out, by an error of this class (`Failed`: a handler raised, `Conflict`, `Misuse`)
        whose text contains `saying`."""
        __tracebackhide__ = True
        came = self._answered().error
        if not isinstance(came, error) or isinstance(came, Rejected) or saying not in str(came):
            wanted = error.__name__ + (f" saying {saying!r}" if saying else "")
            self._story.fail(wanted, self._came())
        return self

    def state(self, entity_id: str | None = None, /, **fields: object) -> Self:
        """The entity's state now has these values in these fields.

        Arguments: entity_id: whose (None: of the last command, or of the last given event).
        """
        __tracebackhide__ = True
        found = self._state(entity_id)
        lines = field_differences(fields, found)
        if lines:
            self._story.fail("a state with " + ", ".join(f"{k}={v!r}" for k, v in fields.items()), shown(found), lines)
        return self

    def absent(self, entity_id: str | None = None, /) -> Self:
        """The entity was never there."""
        __tracebackhide__ = True
        self._settle("an entity that was never there")
        found = self._played.state(self._named(entity_id))
        if found is not None:
            self._story.fail("an entity that was never there", shown(found))
        return self

    # --- inside

    def _state(self, entity_id: str | None) -> Aggregate[Any]:
        __tracebackhide__ = True
        self._settle("a state")
        found = self._played.state(self._named(entity_id))
        if found is None:
            self._story.fail("a state", f"no entity {self._named(entity_id)!r}")
        return found

    def _named(self, entity_id: str | None) -> str:
        named = entity_id or self._entity_id
        if named is None:
            raise Misuse("whose state? Name the entity: .state('123', …)")
        return named

    def _answered(self) -> Outcome:
        """The last outcome, of which the test speaks now."""
        if self._outcome is None:
            raise Misuse("nothing was asked: write .when(a command) before this")
        self._open = False
        self._stage.answered(self)
        return self._outcome

    def _accepted(self, wanted: str) -> Outcome:
        __tracebackhide__ = True
        outcome = self._answered()
        if outcome.error is not None:
            self._story.fail(wanted, self._came())
        return outcome

    def _settle(self, wanted: str) -> None:
        """Does not pass over a refusal that the test has not spoken of."""
        __tracebackhide__ = True
        if self._open:
            self._accepted(wanted)

    def _came(self) -> str:
        outcome = self._answered()
        if outcome.error is not None:
            return shown(outcome.error)
        return listed("event", [recorded.event for recorded in outcome.events])


def fields_of(rejection: Rejected) -> tuple[str, ...]:
    return tuple(type(rejection).__hw_values__.__struct_fields__) if type(rejection) is not Rejected else ()


def as_values(rejection: HeadwaterError) -> object:
    """A rejection's fields as the struct that they travel in."""
    return cast(Rejected, rejection).__hw_values__(*rejection.args)

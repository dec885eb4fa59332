"""What clients were told of one command id, at different times: it must be one story, and the log's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from headwater.testing.audit.effects import by_key
from headwater.testing.audit.events import EventLog
from headwater.testing.audit.history import CommandCall, CommandKey, History, QuestionCall
from headwater.testing.audit.violations import Invariant, Violation


def check_answers(calls: Iterable[CommandCall]) -> Iterator[Violation]:
    """ONE_ANSWER, the first breach of each command. Repetitions must lie within the window of remembered commands."""
    for (entity, id, command_id), ones in by_key(calls).items():
        for content in dict.fromkeys(one.content for one in ones):
            wrong = _two_stories([one for one in ones if one.content == content])
            if wrong is not None:
                sentence = f"command {command_id} of {entity} {id!r} {wrong}"
                yield Violation(Invariant.ONE_ANSWER, sentence, entity, id, command_id)
                break


def _two_stories(calls: Sequence[CommandCall]) -> str | None:
    """What is wrong with the answers to one command that was sent several times."""
    final = [one for one in calls if one.outcome in ("accepted", "rejected")]
    if not final:
        return None
    first = final[0]
    for other in final[1:]:
        if _story(first) != _story(other) and not _forgotten(first) and not _forgotten(other):
            return f"was answered with {_words(first)}, then with {_words(other)}"
    if sum(one.outcome == "accepted" and not one.duplicate for one in final) > 1:
        return "was accepted twice, and not as a repetition"
    for one in calls:
        if one.outcome in ("conflict", "failed") and any(known.ended_s < one.started_s for known in final):
            return f"was answered with {_words(first)}, then with {_words(one)}"
    return None


def _story(call: CommandCall) -> tuple[object, ...]:
    return (call.outcome, call.detail) if call.outcome == "rejected" else (call.outcome, call.version, call.events)


def _forgotten(call: CommandCall) -> bool:
    """Known from its events only: the answer says that it was done, and the version of now."""
    return call.duplicate and call.events == 0


def _words(call: CommandCall) -> str:
    if call.outcome == "accepted":
        return f"accepted at version {call.version} with {call.events} events"
    return f"{call.outcome} ({call.detail})" if call.detail else call.outcome


def check_unknown(history: History, events: EventLog) -> Iterator[Violation]:
    """UNKNOWN, the first breach of each command.

    Questions count from when the run had settled, and the command was not sent any more.
    """
    questions: defaultdict[CommandKey, list[QuestionCall]] = defaultdict(list)
    for question in history.questions:
        questions[question.key].append(question)
    calls = by_key(history.commands)
    for key in dict.fromkeys([*calls, *questions]):
        ones = calls.get(key, [])
        after_s = max([history.settled_s or 0.0, *(one.ended_s for one in ones)])
        final = [one for one in questions.get(key, ()) if one.started_s > after_s and one.outcome != "unknown"]
        wrong = _other_stories(ones, final, len(events.of_command.get(key, ())))
        if wrong is not None:
            entity, id, command_id = key
            sentence = f"command {command_id} of {entity} {id!r}: {wrong}"
            yield Violation(Invariant.UNKNOWN, sentence, entity, id, command_id)


def _other_stories(calls: Sequence[CommandCall], final: Sequence[QuestionCall], logged: int) -> str | None:
    """What is wrong with the answers to those who asked what became of a command."""
    told = [one for one in calls if one.outcome in ("accepted", "rejected")]
    if any(one.outcome == "unknown" for one in calls) and not told and not final:
        return "its outcome was unknown, and nobody has found it out"
    for one in final:
        if one.outcome == "absent" and (logged or told):
            return f"client {one.client} was told that it was never carried out, and it was"
        if one.outcome == "rejected" and logged:
            return f"client {one.client} was told that it was rejected, and the log has {logged} events of it"
        if one.outcome == "accepted" and one.events > logged:
            return f"client {one.client} was told that it has {one.events} events, and the log has {logged} of it"
    stories: set[str] = {one.outcome for one in told}
    if len(stories) > 1:
        return None  # that is told as two answers
    stories |= {one.outcome for one in final}
    if len(stories) > 1:
        return f"some were told {' and some '.join(sorted(stories))}"
    versions = {(one.version, one.events) for one in final if one.outcome == "accepted" and one.events}
    if len(versions) > 1:
        return f"some were told one version and some another: {', '.join(str(v) for v, _ in sorted(versions))}"
    return None

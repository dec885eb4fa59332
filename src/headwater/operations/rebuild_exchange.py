"""The exchange of a read model's rows for those beside them: caught up, checked, and carried out at one moment."""

from __future__ import annotations

from collections.abc import Callable

from headwater.environment import Environment
from headwater.errors import Unavailable
from headwater.failures.held import Tables, exchanged, tables_of
from headwater.failures.parking import Place, place_of_row
from headwater.operations.rebuild_building import Builder, Tell, dead_letters
from headwater.operations.rebuild_state import Lease, NotNow, Rebuild
from headwater.projections.read_model import ReadModel
from headwater.projections.waiting import health
from headwater.stores.port import Loading
from headwater.stores.switching import Behind, Switch, SwitchingStore, beside_runner

SWITCH_S = 30.0
"""How long a switch tries to be as far as the rows that move on meanwhile."""


def exchange(
    model: ReadModel,
    store: SwitchingStore,
    lease: Lease,
    builder: Builder,
    names: dict[str, int],
    change: Callable[[Rebuild], None],
    tell: Tell,
    environment: Environment,
) -> None:
    """Adds to the rows beside what came since, and exchanges them, until they were as far as those that are shown.

    Arguments: lease: held; builder: open; names: what is shown afterwards; change: of the rebuild's row, in the same
    transaction. Raises: NotNow: they have dead letters that workers do not know. Unavailable: they cannot catch up.
    """
    topics = frozenset(topic.name for topic in model.topics)
    switch = Switch(model.runner, beside_runner(model.runner), builder.pairs, names, topics)
    kept = tables_of(model.runner)
    deadline_s = environment.monotonic_s() + SWITCH_S
    while True:
        builder.run(tell)
        running = health(store.notes(model.runner), None, environment)[0] in ("running", "held")
        letters = [place_of_row(row) for row in dead_letters(model, store)] if running else []

        def work(loading: Loading, letters: list[Place] = letters) -> None:
            lease.hold(loading, change)
            loading.save(kept.asked, [exchanged(environment.now())])
            refuse_unknown(model.title, kept, letters, loading)

        try:
            store.switch(switch, work)
        except Behind as error:
            if environment.monotonic_s() > deadline_s:
                raise Unavailable(f"{error}, for {SWITCH_S:g} s; try again when fewer events come") from error
        else:
            return


def refuse_unknown(title: str, kept: Tables, letters: list[Place], loading: Loading) -> None:
    """Compares dead letters of the rows beside with those of the rows that workers maintain: of another one a worker
    would apply what comes after it, before it hears of the exchange.

    Raises: NotNow: there are others.
    """
    known = loading.load(kept.held, letters)
    new = [letter for letter in letters if letter not in known or not known[letter].failed]
    if new:
        topic, partition, offset = new[0]
        raise NotNow(
            f"{len(new)} events are dead letters of the rows of {title} that are to be shown, and none of those that "
            f"are shown, the first at {topic}, partition {partition}, offset {offset}: correct the handler and drop "
            "what is beside, or stop the processes that maintain it before",
            "status",
        )

"""A run under faults: three real brokers, three processes that own, clients that never stop, and what strikes them.

    clients (this process) ──► proxy ──► brokers ◄── proxy ◄── owners (a process each)
          │ noted in a journal             ▲ killed, paused, cut off, full      ▲ killed at a step, frozen
          ▼                                │                                    │
        audit ◄── topics, rows         `broker_faults`, `network_faults`   `owner_faults`

`striking` strikes the faults one after the other, each drawn from a seed, and waits after each until everybody is
served again. `ending` stops the clients, finds out what became of every command, waits until nothing is left to do,
and audits. `python -m tests.faults.run --minutes N --seed S` does as many rounds as fit, each on a cluster of its own;
`scripts/faults` wraps it.

The seed repeats which faults strike, in which order, whom and for how long; what the processes are at when they are
struck is another matter each time.
"""

"""Processes: what listens to events and answers with commands, with a state per key.

A process is an entity whose commands are events. A forwarder carries each event into `<process>-commands`
under the process's own key; from there on it is an owner like any other: state, consumed position and the
commands it sends are one transaction.
"""

from headwater.processes.declare import Process

__all__ = ["Process"]

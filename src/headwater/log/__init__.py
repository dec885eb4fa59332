"""The log: its port (`port`), and `memory`, `sqlite`, `kafka` behind it."""

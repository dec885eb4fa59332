"""A million events, some of them poison, read by processes that are killed into a server that is killed: nothing is
lost, nothing is counted twice, and the order of each entity is kept. `__main__` is the long run."""

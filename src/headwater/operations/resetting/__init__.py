"""Where a group goes on reading, set by an operator: as kafka-consumer-groups does it, for groups whose positions mean
more than that as well.

    scenario, scope ─► `moves`: what would be, with events counted ─► `targets`: what it means, whether it can be
                                                              └─────► carried out: group empty, store, group positions
"""

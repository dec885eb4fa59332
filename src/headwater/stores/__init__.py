"""Where read models live: rows of typed tables, and how far in the log they have come, in one place.

Runners write (`Store.apply`), clients, HTTP and console read. What a store holds is derived: it can be thrown
away and made again from the log.
"""

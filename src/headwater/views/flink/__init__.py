"""The same view as a program of Flink SQL, for where one machine is too small: `hw views flink`.

    plan of a view ─► source (Kafka, JSON, headers) ─► temporary view (SELECT) ─► sink (Kafka)

It is made from the plan, whose expressions DuckDB has bound, so names are resolved and types are known. Only what means
the same in Flink is translated, by a list of what is known to; everything else is refused with the reason.
"""

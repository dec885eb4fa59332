"""Two versions of one app whose events are Avro, each with schemas in a directory of its own, as they are deployed:
`python -m tests.schemas.rolling.run DIRECTORY URL PREFIX`."""

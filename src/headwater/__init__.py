"""Event sourcing and CQRS for Python on Apache Kafka, or on one SQLite file until you need Kafka."""

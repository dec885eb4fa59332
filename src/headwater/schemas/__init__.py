"""Schemas: what events look like, told to other programs. Derived from the classes, Avro or JSON Schema."""

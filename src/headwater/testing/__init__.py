"""What users test their domain with, and the suites that every implementation of a port must pass."""

"""A model of a Kafka cluster: what its brokers keep and what they answer. Nothing here waits."""

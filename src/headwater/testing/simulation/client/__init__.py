"""Doubles of confluent_kafka's clients: their calls, answers, errors and log lines, on the model of a cluster."""

"""A simulation of Kafka: headwater's own code against a model of a cluster, in virtual time, one seed a run."""

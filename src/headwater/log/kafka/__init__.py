"""The log on Apache Kafka, through confluent-kafka. Nothing else in headwater imports that package."""

try:
    import confluent_kafka as _installed  # noqa: F401 -- asked for here once, so that the answer is a sentence
except ImportError as error:
    from headwater.errors import Misuse

    raise Misuse("a log on Kafka needs the package confluent-kafka: pip install 'headwater[kafka]'") from error

from headwater.log.kafka.log import KafkaLog

__all__ = ["KafkaLog"]

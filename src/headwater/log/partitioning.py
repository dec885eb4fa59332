"""Which partition a key belongs to: murmur2, as in Kafka's Java client, on every log.

The count comes from the record made when the topics were created, never from live metadata: librdkafka's own
partitioner (CRC32) and a changed count would split an entity over two partitions, hence two owners.
"""

from __future__ import annotations

from functools import lru_cache

_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


@lru_cache(maxsize=1 << 16)
def murmur2(data: bytes) -> int:
    """Murmur2 with Kafka's seed, unsigned 32 bits.

    Source: org.apache.kafka.common.utils.Utils.murmur2.
    """
    length = len(data)
    h = 0x9747B28C ^ length
    whole = length & ~3
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i : i + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if length & 3:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a key among `partitions`: Kafka's default for records with a key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions

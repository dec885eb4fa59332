"""What every error of the client means, and what follows from it: two tables. Pure.

An error is an answer of the cluster, or one that the client made up itself (its name begins with an underscore then).
`MEANINGS` puts each into one `Kind`, and a test fails when the client learns one that has no row. `AFTER_NOTHING` says
what a writer tells its caller of a transaction that failed with it, once the log has shown that nothing was written.

What to do at once, in the middle of a transaction, does not depend on the kind but on what the client says of the
error (see `life`): it knows best whether its own state allows the same call again.

Sources: Kafka's protocol guide (error codes); librdkafka's `rdkafka_txnmgr.c`, `rdkafka_request.c` and
`rdkafka_idempotence.c`, which decide what the client itself repeats.
"""

from __future__ import annotations

from enum import Enum

from confluent_kafka import KafkaError, KafkaException


class Kind(Enum):
    """What an error says, in the words of the log."""

    PASSING = "a matter of a moment: somebody moves, loads, is slow or cannot be reached"
    LATE = "no answer in time"
    AT_ODDS = "the cluster and this producer do not agree about what was sent: a new producer begins anew"
    OUSTED = "another producer has the transactional id now, or the cluster has ended the transaction"
    OUTDATED = "a member still, but the group has moved on since the fence was taken"
    NO_MEMBER = "no member of the group any more"
    REFUSED = "the record itself: the same one will be refused again"
    MISSING = "there is no such topic or partition"
    FORBIDDEN = "not allowed, or not known to the cluster as who it says it is"
    UNSUITED = "the cluster, its settings or its version do not suit this client: asking again changes nothing"
    UNASKED = "no answer to anything that a transaction asks for"


class Tells(Enum):
    """How a writer tells that nothing was written, by who acts next."""

    ABORTED = "Aborted: the work can be done again, at once"
    FENCED = "Fenced: another member owns the partitions"
    FENCED_IF_NOT_HELD = "the group is asked: Fenced if it does not accept the fence any more, else Aborted"
    MISUSE = "Misuse: the same will fail again, the program must change"
    UNAVAILABLE = "Unavailable: an operator must act; tried again after a pause"


AFTER_NOTHING: dict[Kind, Tells] = {
    Kind.PASSING: Tells.ABORTED,
    Kind.LATE: Tells.ABORTED,
    Kind.AT_ODDS: Tells.ABORTED,
    # A transaction's time may be over and its member still own everything: the producer alone is out then.
    Kind.OUSTED: Tells.FENCED_IF_NOT_HELD,
    # The partitions may well be this member's in the new generation, and nobody would assign them to it again.
    Kind.OUTDATED: Tells.ABORTED,
    Kind.NO_MEMBER: Tells.FENCED,
    Kind.REFUSED: Tells.MISUSE,
    Kind.MISSING: Tells.MISUSE,
    # Done again at once these would fail again at once, for ever.
    Kind.FORBIDDEN: Tells.UNAVAILABLE,
    Kind.UNSUITED: Tells.UNAVAILABLE,
    Kind.UNASKED: Tells.UNAVAILABLE,
}

_NAMES: dict[Kind, str] = {
    Kind.PASSING: """
        _TRANSPORT _ALL_BROKERS_DOWN _RESOLVE _WAIT_COORD _WAIT_CACHE _RETRY _NODE_UPDATE _DESTROY_BROKER _INTR
        _QUEUE_FULL _ISR_INSUFF _UNKNOWN_BROKER
        LEADER_NOT_AVAILABLE NOT_LEADER_FOR_PARTITION FENCED_LEADER_EPOCH UNKNOWN_LEADER_EPOCH
        BROKER_NOT_AVAILABLE REPLICA_NOT_AVAILABLE NETWORK_EXCEPTION
        COORDINATOR_LOAD_IN_PROGRESS COORDINATOR_NOT_AVAILABLE NOT_COORDINATOR TRANSACTION_COORDINATOR_FENCED
        CONCURRENT_TRANSACTIONS UNSTABLE_OFFSET_COMMIT OFFSET_NOT_AVAILABLE THROTTLING_QUOTA_EXCEEDED
        NOT_ENOUGH_REPLICAS NOT_ENOUGH_REPLICAS_AFTER_APPEND KAFKA_STORAGE_ERROR INVALID_MSG STALE_BROKER_EPOCH
    """,
    Kind.LATE: "_TIMED_OUT _MSG_TIMED_OUT _TIMED_OUT_QUEUE REQUEST_TIMED_OUT",
    Kind.AT_ODDS: """
        INVALID_PRODUCER_ID_MAPPING UNKNOWN_PRODUCER_ID INVALID_TXN_STATE TRANSACTION_ABORTABLE
        OUT_OF_ORDER_SEQUENCE_NUMBER DUPLICATE_SEQUENCE_NUMBER OPERATION_NOT_ATTEMPTED
        _STATE _CONFLICT _PREV_IN_PROGRESS _IN_PROGRESS _OUTDATED _FATAL _INCONSISTENT _GAPLESS_GUARANTEE
        _PURGE_QUEUE _PURGE_INFLIGHT _DESTROY
    """,
    Kind.OUSTED: "_FENCED PRODUCER_FENCED INVALID_PRODUCER_EPOCH",
    Kind.OUTDATED: "ILLEGAL_GENERATION STALE_MEMBER_EPOCH REBALANCE_IN_PROGRESS",
    Kind.NO_MEMBER: "UNKNOWN_MEMBER_ID FENCED_INSTANCE_ID FENCED_MEMBER_EPOCH UNRELEASED_INSTANCE_ID _ASSIGNMENT_LOST",
    Kind.REFUSED: "MSG_SIZE_TOO_LARGE RECORD_LIST_TOO_LARGE INVALID_TIMESTAMP INVALID_RECORD",
    Kind.MISSING: "UNKNOWN_TOPIC_OR_PART _UNKNOWN_TOPIC _UNKNOWN_PARTITION",
    Kind.FORBIDDEN: """
        TOPIC_AUTHORIZATION_FAILED GROUP_AUTHORIZATION_FAILED CLUSTER_AUTHORIZATION_FAILED
        TRANSACTIONAL_ID_AUTHORIZATION_FAILED DELEGATION_TOKEN_AUTHORIZATION_FAILED
        SASL_AUTHENTICATION_FAILED UNSUPPORTED_SASL_MECHANISM ILLEGAL_SASL_STATE SECURITY_DISABLED
        UNACCEPTABLE_CREDENTIAL PRINCIPAL_DESERIALIZATION_FAILURE DELEGATION_TOKEN_EXPIRED
        _AUTHENTICATION _SSL
    """,
    Kind.UNSUITED: """
        UNKNOWN INVALID_TRANSACTION_TIMEOUT INVALID_REQUIRED_ACKS INVALID_CONFIG INVALID_REQUEST POLICY_VIOLATION
        UNSUPPORTED_VERSION UNSUPPORTED_FOR_MESSAGE_FORMAT UNSUPPORTED_COMPRESSION_TYPE INVALID_MSG_SIZE
        OFFSET_METADATA_TOO_LARGE INVALID_COMMIT_OFFSET_SIZE INVALID_GROUP_ID GROUP_ID_NOT_FOUND
        INCONSISTENT_GROUP_PROTOCOL TOPIC_EXCEPTION REBOOTSTRAP_REQUIRED
        _FAIL _BAD_MSG _BAD_COMPRESSION _CRIT_SYS_RESOURCE _INVALID_ARG _NOT_CONFIGURED _NOT_IMPLEMENTED
        _UNSUPPORTED_FEATURE _UNKNOWN_PROTOCOL _UNDERFLOW _INVALID_TYPE _NO_OFFSET
    """,
    Kind.UNASKED: """
        NO_ERROR
        OFFSET_OUT_OF_RANGE FETCH_SESSION_ID_NOT_FOUND INVALID_FETCH_SESSION_EPOCH UNKNOWN_TOPIC_ID
        INCONSISTENT_TOPIC_ID _PARTITION_EOF _AUTO_OFFSET_RESET _LOG_TRUNCATION
        INVALID_SESSION_TIMEOUT MEMBER_ID_REQUIRED GROUP_MAX_SIZE_REACHED UNSUPPORTED_ASSIGNOR
        INVALID_REGULAR_EXPRESSION _MAX_POLL_EXCEEDED _UNKNOWN_GROUP _EXISTING_SUBSCRIPTION _ASSIGN_PARTITIONS
        _REVOKE_PARTITIONS
        TOPIC_ALREADY_EXISTS INVALID_PARTITIONS INVALID_REPLICATION_FACTOR INVALID_REPLICA_ASSIGNMENT NOT_CONTROLLER
        NON_EMPTY_GROUP GROUP_SUBSCRIBED_TO_TOPIC TOPIC_DELETION_DISABLED RESOURCE_NOT_FOUND DUPLICATE_RESOURCE
        STALE_CTRL_EPOCH LOG_DIR_NOT_FOUND REASSIGNMENT_IN_PROGRESS NO_REASSIGNMENT_IN_PROGRESS LISTENER_NOT_FOUND
        PREFERRED_LEADER_NOT_AVAILABLE ELIGIBLE_LEADERS_NOT_AVAILABLE ELECTION_NOT_NEEDED
        DELEGATION_TOKEN_AUTH_DISABLED DELEGATION_TOKEN_NOT_FOUND DELEGATION_TOKEN_OWNER_MISMATCH
        DELEGATION_TOKEN_REQUEST_NOT_ALLOWED INVALID_PRINCIPAL_TYPE
        INCONSISTENT_VOTER_SET INVALID_UPDATE_VERSION FEATURE_UPDATE_FAILED MISMATCHED_ENDPOINT_TYPE
        UNSUPPORTED_ENDPOINT_TYPE UNKNOWN_CONTROLLER_ID INVALID_REGISTRATION INVALID_VOTER_KEY DUPLICATE_VOTER
        VOTER_NOT_FOUND UNKNOWN_SUBSCRIPTION_ID TELEMETRY_TOO_LARGE
        INVALID_RECORD_STATE SHARE_SESSION_NOT_FOUND INVALID_SHARE_SESSION_EPOCH SHARE_SESSION_LIMIT_REACHED
        FENCED_STATE_EPOCH STREAMS_INVALID_TOPOLOGY STREAMS_INVALID_TOPOLOGY_EPOCH STREAMS_TOPOLOGY_FENCED
        _FS _KEY_SERIALIZATION _VALUE_SERIALIZATION _KEY_DESERIALIZATION _VALUE_DESERIALIZATION _PARTIAL _READ_ONLY
        _NOENT _APPLICATION _NOOP _INVALID_DIFFERENT_RECORD
    """,
}
"""Per kind, the errors by the client's names for them. An older client lacks the newest names."""

MEANINGS: dict[int, Kind] = {
    getattr(KafkaError, name): kind
    for kind, names in _NAMES.items()
    for name in names.split()
    if hasattr(KafkaError, name)
}
"""Per error code, its kind."""


def kind_of(error: KafkaError) -> Kind:
    """An error that this client has no name for is one that nobody asked for."""
    return MEANINGS.get(error.code(), Kind.UNASKED)


RAISED = (KafkaException, SystemError)
"""What a call of the client raises. The second comes of the first: what is fatal to a client comes out of whatever call
lets its callbacks run, and reports that are due are still called then; one that asks its message for anything
breaks with a SystemError. Sometimes the first is lost on the way (both seen with confluent-kafka 2.16.1)."""

_LOST = "returned NULL without setting an exception"


def error_behind(raised: KafkaException | SystemError) -> KafkaError:
    """The client's own error. Raises: SystemError: this one is not of its making."""
    cause = raised if isinstance(raised, KafkaException) else raised.__cause__
    if not isinstance(cause, KafkaException):
        if _LOST in str(raised):
            return KafkaError(KafkaError._FATAL, "the client does not say what is fatal to it", True)
        raise raised
    error: KafkaError = cause.args[0]
    return error

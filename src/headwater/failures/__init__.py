"""What becomes of a record that cannot be applied: a policy, dead letters, and what is held behind them in order.

policy -> parking (which records of a batch are set aside, pure) -> rows that move with the positions (`held`) ->
dead-letter topic (`letters`, `publishing`) -> instructions of operators, carried out by the partition's owner
"""

from headwater.failures.policy import FailurePolicy, dead_letter, stop

__all__ = ["FailurePolicy", "dead_letter", "stop"]

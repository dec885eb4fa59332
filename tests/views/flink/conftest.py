"""A cluster of Flink is large: its test is started by `scripts/flink`, and is no part of the suite."""

import os

collect_ignore = [] if "HEADWATER_FLINK" in os.environ else ["test_cluster.py"]

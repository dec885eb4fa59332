"""Programs that measure headwater beside a floor: the same work written by hand on the same libraries.

`python -m benchmarks.NAME [--quick] [--json]`, or `./scripts/bench NAME …`, which does the set-up first. Floor and
library take turns within one run, in several rounds, and medians are compared: machines are noisy. Each program
checks that both sides computed the same result, and fails if they did not.
"""

"""What a run found, as text in Markdown: it is printed, and copied to docs/reliability.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headwater.testing.audit import Invariant
from tests.faults.run.striking import Findings


def table(findings: Findings, kinds: Sequence[str], planted: tuple[int, int]) -> str:
    """Arguments: kinds: those that could strike, in the table's order; planted: how many planted bugs were found, of
    how many."""
    return "\n".join(_lines(findings, kinds, planted))


def _lines(findings: Findings, kinds: Sequence[str], planted: tuple[int, int]) -> Iterator[str]:
    yield "| fault | runs | served again after, at most |"
    yield "|---|---|---|"
    for kind in kinds:
        if kind in findings.left_out:
            yield f"| {kind} | left out: {findings.left_out[kind]} | |"
            continue
        missed = f", and {findings.missed[kind]} tries in vain" if findings.missed[kind] else ""
        back = f"{findings.back_s[kind]:.1f} s" if kind in findings.back_s else ""
        yield f"| {kind} | {findings.runs[kind]}{missed} | {back} |"
    yield f"| all | {findings.runs.total()} | |"
    yield ""
    yield "| what | how many |"
    yield "|---|---|"
    yield f"| rounds, each on new brokers | {findings.rounds} |"
    yield f"| commands sent, repetitions included | {findings.outcomes.total()} |"
    for outcome, count in sorted(findings.outcomes.items(), key=lambda one: -one[1]):
        yield f"| of these {outcome} | {count} |"
    yield f"| events written | {findings.events} |"
    yield f"| invariants checked | {len(Invariant)}, and that money is neither lost nor made, and that work goes on |"
    yield f"| planted bugs that the auditor finds | {planted[0]} of {planted[1]} |"
    yield f"| violations | {len(findings.violations)} |"
    for violation in findings.violations:
        yield f"\nVIOLATION: {violation}"

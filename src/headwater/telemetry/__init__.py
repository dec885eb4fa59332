"""What this process tells of itself, for other programs: logs as JSON lines, traces, metrics, alerts.

    readers, owners ──► environment.Telemetry (KeptTelemetry) ──► exposition, serving: Prometheus
                                          └── alerts ───────────► webhook
    logging ──► logs: JSON lines           environment.Tracing ──► spans: OpenTelemetry

Nothing here is imported by what does the work; `hw run` or a program puts it together.
"""

"""Metrics in the format of Prometheus.

If PROMETHEUS_MULTIPROC_DIR names a directory that the processes of a machine share, as under `up`, every `serve`
reports the numbers of all of them.
"""

import os

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

SHARED_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

REQUESTS = Histogram(
    "http_server_request_duration_seconds", "Time to answer a request.", ["dialect", "method", "status"]
)
COMMANDS = Histogram(
    "polyforge_command_duration_seconds", "Time to decide and store a command.", ["command", "outcome"]
)
JOBS = Histogram("polyforge_job_duration_seconds", "Time that a worker spends on a job.", ["reaction", "outcome"])
RELAY_HEAD = Gauge("polyforge_relay_head", "Number of the newest numbered event.", multiprocess_mode="mostrecent")
RELAY_LAG = Gauge(
    "polyforge_unnumbered_event_age_seconds",
    "Age of the oldest event without a number.",
    multiprocess_mode="mostrecent",
)
OLDEST_UNDONE = Gauge(
    "polyforge_oldest_undone_seconds",
    "Age of the oldest thing that a background loop has not done.",
    ["loop"],
    multiprocess_mode="mostrecent",
)
LEADERSHIPS = Counter("polyforge_relay_leaderships_total", "Times this relay became the leader.")
DELIVERIES = Counter("polyforge_deliveries_total", "Attempts to send an event to a subscriber.", ["outcome"])
CLOSED_CONNECTIONS = Counter(
    "polyforge_closed_connections_total", "Client connections that were closed for being slow or too many.", ["reason"]
)
RATE_LIMITED = Counter("polyforge_rate_limited_requests_total", "Requests that were over a rate limit.", ["limit"])
WAITERS = Gauge("polyforge_waiting_requests", "Requests that are waiting for an event.", multiprocess_mode="livesum")


def render_metrics() -> bytes:
    """Render all metrics in the text format of Prometheus."""
    if SHARED_DIRECTORY not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def remove_process(pid: int, directory: str) -> None:
    """Remove the live gauges of a process that has ended."""
    multiprocess.mark_process_dead(pid, directory)  # type: ignore[no-untyped-call]

"""What Prometheus may scrape.

Under `up`, and wherever PROMETHEUS_MULTIPROC_DIR names a directory that the processes of a machine share, every
`serve` tells the numbers of all of them.
"""

import os

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

SHARED = "PROMETHEUS_MULTIPROC_DIR"

REQUESTS = Histogram(
    "http_server_request_duration_seconds", "Time to answer a request.", ["dialect", "method", "status"]
)
COMMANDS = Histogram(
    "polyforge_command_duration_seconds", "Time to decide and store a command.", ["command", "outcome"]
)
JOBS = Histogram("polyforge_job_duration_seconds", "Time a worker spends on a piece of work.", ["reaction", "outcome"])
RELAY_HEAD = Gauge("polyforge_relay_head", "Number of the newest numbered event.", multiprocess_mode="mostrecent")
RELAY_LAG = Gauge(
    "polyforge_unnumbered_event_age_seconds",
    "Age of the oldest event without a number.",
    multiprocess_mode="mostrecent",
)
LEADERSHIPS = Counter("polyforge_relay_leaderships_total", "Times this relay became the leader.")
DELIVERIES = Counter("polyforge_deliveries_total", "Attempts to send an event to a subscriber.", ["outcome"])
WAITERS = Gauge("polyforge_waiting_requests", "Requests that wait for an event.", multiprocess_mode="livesum")


def render_metrics() -> bytes:
    """Prometheus' text format."""
    if SHARED not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def remove_process(pid: int, shared: str) -> None:
    """A process has ended: what it was in the middle of is over."""
    multiprocess.mark_process_dead(pid, shared)  # type: ignore[no-untyped-call]

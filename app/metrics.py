"""What Prometheus may scrape."""

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Histogram(
    "http_server_request_duration_seconds", "Time to answer a request.", ["dialect", "method", "status"]
)
COMMANDS = Histogram(
    "polyforge_command_duration_seconds", "Time to decide and store a command.", ["command", "outcome"]
)
JOBS = Histogram("polyforge_job_duration_seconds", "Time a worker spends on a piece of work.", ["reaction", "outcome"])
RELAY_HEAD = Gauge("polyforge_relay_head", "Number of the newest numbered event.")
RELAY_LAG = Gauge("polyforge_unnumbered_event_age_seconds", "Age of the oldest event without a number.")
LEADERSHIPS = Counter("polyforge_relay_leaderships_total", "Times this relay became the leader.")
WAITERS = Gauge("polyforge_waiting_requests", "Requests that wait for an event.")

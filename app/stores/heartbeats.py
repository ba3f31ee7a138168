"""Heart-beats of workers: the leases of one that has died are known by them, and freed long before they end.

Each worker process has an id, which is stored with the leases that it takes. A row here says until when the process
counts as alive. One that ends regularly has no leases and deletes its row. A process without a row, of an older version
for example, is not judged: its leases end by themselves.
"""

from uuid import UUID

from app.database import Database

BEAT_SECONDS = 10.0  # seconds after its last heart-beat until a worker counts as dead
BEAT_INTERVAL = BEAT_SECONDS / 5
MAX_GAP = BEAT_SECONDS / 2  # seconds between two looks, after which living workers may look dead
BEAT = """
    insert into heartbeats (holder, alive_until) values ($1, now() + make_interval(secs => $2))
    on conflict (holder) do update set alive_until = excluded.alive_until
"""
# A heart-beat that reaches further than any can was given before the clock was set back, and there was none since.
# The fencing tokens stay, so a process that was only frozen finds out that its work may be another's.
FREE = """
    with dead as (
        select holder from heartbeats
        where  alive_until < now() or alive_until > now() + make_interval(secs => $1)
    ), freed_work as (
        update work set lease_until = null from dead
        where  work.holder = dead.holder and done_at is null and lease_until > now()
        returning 1
    ), freed_lanes as (
        update lanes set lease_until = null, token = null from dead
        where  lanes.holder = dead.holder and lease_until > now()
        returning 1
    ), freed_mirrors as (
        update mirrors set lease_until = null, token = null from dead
        where  mirrors.holder = dead.holder and lease_until > now()
        returning 1
    )
    select (select count(*) from freed_work) + (select count(*) from freed_lanes) + (select count(*) from freed_mirrors)
"""
CLOCK = "select extract(epoch from clock_timestamp())::float8"
FORGET = "delete from heartbeats where alive_until < now() - interval '1 day'"


async def beat(db: Database, holder: UUID, seconds: float) -> None:
    """Note that a worker process is alive, for `seconds` from now."""
    await db.execute(BEAT, holder, seconds)


async def end(db: Database, holder: UUID) -> None:
    """Delete the row of a process that ends and holds no lease."""
    await db.execute("delete from heartbeats where holder = $1", holder)


class Watch:
    """Whether heart-beats have been watched for long enough to judge by them.

    While the database is away no worker can show that it is alive. So after each gap between two looks workers get some
    time before any of them counts as dead.
    """

    def __init__(self) -> None:
        self._since = self._last = float("-inf")  # seconds of the database's clock, which says who is alive

    async def look(self, db: Database, seconds: float) -> bool:
        """Look once more. Returns whether there has been no gap for this many seconds."""
        now: float = await db.fetchval(CLOCK)
        if not 0 <= now - self._last <= MAX_GAP:
            self._since = now
        self._last = now
        return now - self._since >= seconds


async def free_leases_of_the_dead(db: Database) -> int:
    """Free the leases of processes whose heart-beat has stopped. Returns how many they were."""
    freed: int = await db.fetchval(FREE, 2 * BEAT_SECONDS)
    await db.execute(FORGET)
    return freed

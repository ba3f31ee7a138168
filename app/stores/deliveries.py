"""Writes to deliveries, to their lanes and to the endpoints of subscriptions."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from app.database import Database
from app.queries.feed import RIGHTS, Reader, is_visible_sql
from app.queries.subscriptions import RETENTION
from app.stores.sealed import build_context

DELETE_BATCH = 200  # deliveries deleted by one statement
MAX_REPLAY = 100_000  # deliveries of a subscription that may wait after a replay
REPLAY_SPAN = 2000  # event numbers covered by one statement of a replay
IN_THE_LOG = """
    exists (select 1 from events
            where  events.stream = 'subscription-' || {{id}} and events.type = 'subscription.{what}')
"""
# Whether a project's setting has ever named this web hook. The read tables may be empty during a rebuild.
NAMED_BY_LOG = """
    exists (select 1 from events
            where  events.stream = 'project-' || kept.project_id and events.type = 'project.configured'
            and    events.data #> '{settings,web_hooks}'
                   @> jsonb_build_array(jsonb_build_object('id', kept.subscription_id::text)))
"""
CREATED, DELETED = IN_THE_LOG.format(what="created"), IN_THE_LOG.format(what="deleted")


def seal(db: Database, subscription_id: UUID, name: str, value: str) -> str:
    return db.keyring.seal(value, build_context("subscription_endpoints", name, subscription_id))


@asynccontextmanager
async def storing_endpoint(
    db: Database, subscription_id: UUID, url: str, secret: str, headers: Mapping[str, Any]
) -> AsyncIterator[None]:
    """Store an endpoint before the block creates its subscription; delete it again if the block fails."""
    await db.execute(
        "insert into subscription_endpoints (subscription_id, url, secret, headers) values ($1, $2, $3, $4)",
        subscription_id,
        seal(db, subscription_id, "url", url),
        seal(db, subscription_id, "secret", secret),
        seal(db, subscription_id, "headers", orjson.dumps(headers).decode()),
    )
    try:
        yield
    except BaseException:  # includes cancellation, when the client hangs up; raised again
        # If only the answer of the database was lost, the subscription exists and needs its endpoint.
        await db.execute(
            """
            delete from subscription_endpoints
            where  subscription_id = $1
            and    not exists (select 1 from subscriptions where subscriptions.subscription_id = $1)
            """,
            subscription_id,
        )
        raise


async def list_hook_urls(db: Database, project_id: int) -> dict[UUID, str]:
    """The addresses of a project's web hooks, also of former ones, by the ids of their subscriptions."""
    rows = await db.fetch(
        "select subscription_id, url from subscription_endpoints where project_id = $1 order by kept_at", project_id
    )
    return {
        key: db.keyring.open(url, build_context("subscription_endpoints", "url", key))
        for key, url in ((row["subscription_id"], row["url"]) for row in rows)
    }


@asynccontextmanager
async def storing_hooks(db: Database, project_id: int, urls: Mapping[UUID, str]) -> AsyncIterator[None]:
    """Store the addresses of web hooks before the block names them; delete them again if the block fails."""
    if urls:
        await store_hooks(db, project_id, urls)
    try:
        yield
    except BaseException:  # includes cancellation, when the client hangs up; raised again
        # If only the answer of the database was lost, the setting names them.
        await db.execute(
            f"delete from subscription_endpoints as kept where subscription_id = any ($1) and not {NAMED_BY_LOG}",
            list(urls),
        )
        raise


async def store_hooks(db: Database, project_id: int, urls: Mapping[UUID, str]) -> None:
    await db.execute(
        """
        insert into subscription_endpoints (subscription_id, project_id, url)
        select it.id, $1, it.url from unnest($2::uuid[], $3::text[]) as it (id, url)
        on conflict do nothing
        """,
        project_id,
        list(urls),
        [seal(db, key, "url", url) for key, url in urls.items()],
    )


async def move_endpoint(
    db: Database, subscription_id: UUID, url: str | None, headers: Mapping[str, Any] | None
) -> None:
    """Change the URL or the headers of an endpoint; None keeps the old value."""
    await db.execute(
        """
        update subscription_endpoints
        set    url = coalesce($2, url), headers = coalesce($3, headers)
        where  subscription_id = $1
        """,
        subscription_id,
        None if url is None else seal(db, subscription_id, "url", url),
        None if headers is None else seal(db, subscription_id, "headers", orjson.dumps(headers).decode()),
    )


async def delete_endpoint(db: Database, subscription_id: UUID) -> None:
    await db.execute("delete from subscription_endpoints where subscription_id = $1", subscription_id)


async def rotate_secret(db: Database, subscription_id: UUID, secret: str, overlap: int) -> datetime:
    """Replace the secret. The old one stays valid for `overlap` seconds; returns the time when it ends."""
    until: datetime = await db.fetchval(
        """
        update subscription_endpoints
        set    previous_secret = secret, secret = $2, previous_until = now() + make_interval(secs => $3)
        where  subscription_id = $1
        returning previous_until
        """,
        subscription_id,
        seal(db, subscription_id, "secret", secret),
        overlap,
    )
    return until


# Wake the lanes of `added`. A worker that holds a lane sees by `news` that there is more to send. `due` is the new due
# time of a lane that was not empty. All statements take lanes in the same order, which prevents deadlocks.
WAKE = """
    insert into lanes as known (subscription_id, lane, due_at)
    select distinct subscription_id, lane, now() from added
    order by subscription_id, lane
    on conflict (subscription_id, lane) do update
    set    due_at = {due}, news = known.news + 1
"""
# The columns of a new delivery (subscription, lane, seq, position), for the relay (workers/relay.py) and for replays.
FANNED_OUT = """
    subscriptions.subscription_id,
    case when subscriptions.ordered then coalesce(events.project_id, 0) else -numbers.seq end,
    numbers.seq, events.position
"""
# The condition that a subscription wants an event. Events of subscriptions go only to those who ask for the type by
# name; otherwise every subscription would start with its own creation. `silent` are pairs of a format and an event type
# that the format does not support (app/feed/formats.py).
WANTED = """
    (subscriptions.project_id is null or subscriptions.project_id = events.project_id)
    and (subscriptions.types is null and events.type not like 'subscription.%'
         or events.type = any (subscriptions.types)
         or split_part(events.type, '.', 1) || '.*' = any (subscriptions.types))
    and subscriptions.format || ' ' || events.type <> all ({silent})
"""


# Where a replay looks: $1 the subscription, $2 and $3 the range of numbers, $4 unsupported types, and the rights of the
# subscription's owner, who gets only what they may see now: $5 administrator, $6 username, $7 groups.
REPLAYED = f"""
    from   subscriptions
    cross join numbers
    join   events using (position)
    {RIGHTS}
    where  subscriptions.subscription_id = $1 and numbers.seq > $2 and numbers.seq <= $3
    and    {WANTED.format(silent="$4::text[]")}
    and    {is_visible_sql("$5::boolean", "$6::text", "$7::text[]")}
"""


async def ping(db: Database, subscription_id: UUID) -> UUID:
    """Create a test delivery without an event. It takes the same path as any other."""
    delivery_id: UUID = await db.fetchval(
        f"""
        with added as (
            insert into deliveries (subscription_id, lane, seq) values ($1, 0, 0)
            returning delivery_id, subscription_id, lane
        ), woken as ({WAKE.format(due="known.due_at")})
        select delivery_id from added
        """,
        subscription_id,
    )
    return delivery_id


async def redeliver(db: Database, delivery_id: UUID) -> None:
    """Send a delivery again, now, with a fresh retry schedule."""
    await db.execute(
        f"""
        with added as (
            update deliveries
            set    status = 'waiting', reason = null, attempts = 0, parts = 0, ended_at = null
            where  delivery_id = $1
            returning subscription_id, lane
        ) {WAKE.format(due="now()")}
        """,
        delivery_id,
    )


async def wake(db: Database, subscription_id: UUID) -> None:
    """Make all waiting deliveries of a subscription due now and forget its earlier failures."""
    await db.execute(
        f"""
        with closed as (
            delete from circuits where subscription_id = $1
        ), added as (
            select subscription_id, lane from deliveries where subscription_id = $1 and status = 'waiting'
        ) {WAKE.format(due="now()")}
        """,
        subscription_id,
    )


async def is_deleted(db: Database, subscription_id: UUID) -> bool:
    """Whether the log says that the subscription was deleted. The read tables may be empty during a rebuild, and what
    a worker gives up is lost for good.
    """
    found: bool = await db.fetchval(f"select {DELETED.format(id='$1::uuid')}", subscription_id)
    return found


async def repair_lanes(db: Database) -> int:
    """Create missing lanes of waiting deliveries, as after a crash between two statements. Returns their number."""
    rows = await db.fetch("""
        insert into lanes (subscription_id, lane, due_at)
        select distinct deliveries.subscription_id, deliveries.lane, now()
        from   deliveries
        left join lanes using (subscription_id, lane)
        left join subscriptions using (subscription_id)
        where  deliveries.status = 'waiting' and lanes.subscription_id is null
        and    subscriptions.status is distinct from 'inactive'
        on conflict do nothing
        returning 1
    """)
    return len(rows)


async def delete_ended(db: Database) -> int:
    """Delete a batch of deliveries that ended longer than the retention ago. Returns their number."""
    rows = await db.fetch(
        """
        delete from deliveries
        where  delivery_id in (select delivery_id from deliveries
                               where  ended_at < now() - make_interval(days => $1)
                               order by ended_at
                               limit  $2)
        returning 1
        """,
        RETENTION,
        DELETE_BATCH,
    )
    return len(rows)


async def delete_orphans(db: Database) -> None:
    """Delete endpoints and circuits of subscriptions that were deleted, and endpoints whose subscription was never
    created. Those of web hooks go with their project, or when they ended longer than the retention ago.
    """
    await db.execute(f"""
        delete from subscription_endpoints as kept
        where  kept.project_id is not null and kept.kept_at < now() - interval '1 hour' and not {NAMED_BY_LOG}
        or     exists (select 1
                       from   subscriptions join projects using (project_id)
                       where  subscriptions.subscription_id = kept.subscription_id and kept.project_id is not null
                       and    subscriptions.status = 'ended'
                       and    subscriptions.changed_at < now() - make_interval(days => {RETENTION})
                       and    not coalesce(projects.settings -> 'web_hooks', '[]')
                                  @> jsonb_build_array(jsonb_build_object('id', kept.subscription_id::text)))
    """)
    await db.execute(f"""
        delete from subscription_endpoints as kept
        where  kept.project_id is null
        and    not exists (select 1 from subscriptions where subscriptions.subscription_id = kept.subscription_id)
        and    ({DELETED.format(id="kept.subscription_id")}
                or kept.kept_at < now() - interval '1 hour' and not {CREATED.format(id="kept.subscription_id")})
    """)
    await db.execute(f"""
        delete from circuits
        where  not exists (select 1 from subscriptions where subscriptions.subscription_id = circuits.subscription_id)
        and    {DELETED.format(id="circuits.subscription_id")}
    """)


async def count_wanted(
    db: Database, subscription_id: UUID, after: int, to: int, unsupported: list[str], reader: Reader
) -> int:
    """Count the deliveries that would wait after a replay of this range; MAX_REPLAY + 1 stands for any larger count."""
    count: int = await db.fetchval(
        f"""
        select count(*)
        from   (select 1 from deliveries where subscription_id = $1 and status = 'waiting'
                union all
                select 1 {REPLAYED}
                limit  {MAX_REPLAY + 1}) as these
        """,
        subscription_id,
        after,
        to,
        unsupported,
        *_rights(reader),
    )
    return count


def _rights(reader: Reader) -> tuple[bool, str, list[str]]:
    return reader.everything, reader.username, reader.groups


async def replay(
    db: Database, subscription_id: UUID, after: int, to: int, unsupported: list[str], reader: Reader
) -> int:
    """Deliver again all wanted events numbered above `after` and up to `to` that the reader, the owner of the
    subscription, may see. Returns the number of deliveries.

    It takes several statements, since no event can be numbered while one long statement writes.
    """
    count, head = 0, await db.fetchval("select coalesce(max(seq), 0) from numbers")
    for first in range(after, min(to, head), REPLAY_SPAN):
        upto = min(first + REPLAY_SPAN, to, head)
        count += await _replay_span(db, subscription_id, first, upto, unsupported, reader)
    return count


async def _replay_span(
    db: Database, subscription_id: UUID, after: int, to: int, unsupported: list[str], reader: Reader
) -> int:
    count: int = await db.fetchval(
        f"""
        with added as (
            insert into deliveries (subscription_id, lane, seq, position)
            select {FANNED_OUT} {REPLAYED}
            order by numbers.seq
            returning subscription_id, lane
        ), woken as ({WAKE.format(due="known.due_at")})
        select count(*) from added
        """,
        subscription_id,
        after,
        to,
        unsupported,
        *_rights(reader),
    )
    return count

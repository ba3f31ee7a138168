"""Queries of webhook subscriptions and their deliveries."""

from uuid import UUID

from app.actor import Actor
from app.database import Database, Row
from app.errors import NotFound, Subject
from app.queries.feed import RIGHTS, is_visible_sql

RETENTION = 30  # days for which ended deliveries are kept


# The actor's own subscriptions, and those of projects that the actor administers.
OWNED_BY = """
    ($1 or subscriptions.owner = $2 or projects.owner = $2
     or exists (select 1 from access
                where  access.project_id = subscriptions.project_id and access.level = 'admin'
                and    (access.party = 'user' and access.name = $2
                        or access.party = 'group' and access.name = any ($3))))
    and ($4::bigint is null or subscriptions.project_id = $4)
"""
COLUMNS = (
    "subscriptions.*, projects.path, projects.blocked, circuits.failures, circuits.failing_since, circuits.open_until"
)
SHOWN = f"""
    select {COLUMNS}
    from   subscriptions
    left join projects using (project_id)
    left join circuits using (subscription_id)
"""
ATTEMPTS = """
    (select coalesce(jsonb_agg(to_jsonb(each) - 'delivery_id' order by each.at), '[]')
     from   delivery_attempts as each
     where  each.delivery_id = deliveries.delivery_id) as tried
"""
# The conditions of OWNED_BY and of visible events use the same parameters: $1 administrator, $2 username, $3 groups.
VISIBLE_TO_MANAGER = f"(deliveries.seq = 0 or {is_visible_sql('$1::boolean', '$2::text', '$3::text[]')})"
# A delivery is due when its lane is due and the circuit of its endpoint is closed. The manager of a subscription sees
# the deliveries of events that they may see at this moment.
DELIVERY = f"""
    select deliveries.*, coalesce(events.type, 'ping') as type, {ATTEMPTS},
           case when lanes.due_at is not null then greatest(lanes.due_at, circuits.open_until) end as due_at
    from   deliveries
    left join events using (position)
    left join lanes on lanes.subscription_id = deliveries.subscription_id and lanes.lane = deliveries.lane
                    and deliveries.status = 'waiting'
    left join circuits on circuits.subscription_id = deliveries.subscription_id
    {RIGHTS}
    where  {VISIBLE_TO_MANAGER}
"""


def _owner_condition(actor: Actor) -> tuple[bool, str, list[str], int | None]:
    return actor.admin, actor.username, sorted(actor.groups), actor.token_project


async def find(db: Database, actor: Actor, subscription_id: UUID) -> Row:
    """Find a subscription that the actor may manage. Raises NotFound."""
    found = await db.fetchrow(
        f"{SHOWN} where {OWNED_BY} and subscription_id = $5", *_owner_condition(actor), subscription_id
    )
    if found is None:
        raise NotFound(Subject.SUBSCRIPTION)
    return found


async def list_of_owner(db: Database, actor: Actor, after: UUID, limit: int) -> list[Row]:
    """List the subscriptions that the actor may manage, after the id `after`.

    Web hooks that ended longer ago than the retention are left out, since they cannot be deleted.
    """
    return await db.fetch(
        f"""
        {SHOWN}
        where    {OWNED_BY} and subscription_id > $5
        and      not (hook is not null and status = 'ended' and changed_at < now() - make_interval(days => {RETENTION}))
        order by subscription_id
        limit    $6
        """,
        *_owner_condition(actor),
        after,
        limit,
    )


async def count_of_owner(db: Database, owner: str) -> int:
    count: int = await db.fetchval("select count(*) from subscriptions where owner = $1", owner)
    return count


async def list_deliveries(
    db: Database,
    actor: Actor,
    subscription_id: UUID,
    status: str | None,
    after: int,
    before: UUID | None,
    limit: int,
) -> list[Row]:
    """List the deliveries of a subscription that the actor may manage, the newest first. Raises NotFound.

    Those of events that the actor may not see now are left out.

    `after` is an event number, `before` the id of a delivery.
    """
    rows = await db.fetch(
        f"""
        select   delivery.*
        from     ({SHOWN} where {OWNED_BY} and subscription_id = $5) as subscription
        left join lateral (
            {DELIVERY}
            and      deliveries.subscription_id = subscription.subscription_id
            and      ($6::text is null or deliveries.status = $6)
            and      ($7::uuid is null or deliveries.delivery_id < $7) and deliveries.seq >= $8
            order by deliveries.delivery_id desc
            limit    $9
        ) as delivery on true
        order by delivery.delivery_id desc
        """,
        *_owner_condition(actor),
        subscription_id,
        status,
        before,
        after and after + 1,
        limit,
    )
    if not rows:
        raise NotFound(Subject.SUBSCRIPTION)
    return [row for row in rows if row["delivery_id"] is not None]


async def find_delivery(db: Database, actor: Actor, delivery_id: UUID) -> Row:
    """Find a delivery of a subscription that the actor may manage. Raises NotFound, also if the actor may not see its
    event now.
    """
    found = await db.fetchrow(f"{DELIVERY} and deliveries.delivery_id = $4", *_owner_condition(actor)[:3], delivery_id)
    if found is None:
        raise NotFound(Subject.DELIVERY)
    await find(db, actor, found["subscription_id"])
    return found

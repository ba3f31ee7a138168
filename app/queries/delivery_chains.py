"""Chains of webhook deliveries whose receivers act on this forge and so cause further deliveries."""

import re
from uuid import UUID

from app.database import Database

# A receiver that acts here may pass on the id of a delivery as its request id, with or without the message's number.
OF_A_DELIVERY = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(-[0-9]+)?\Z")
UUID_LENGTH = 36  # characters
MAX_STEPS = 50  # deliveries that are traced back
MEASURE_DEPTH = f"""
    with recursive back (request, depth, steps) as (
        select $1::text, 0, 0
        union all
        select events.request, back.depth + (deliveries.subscription_id = $2)::int, back.steps + 1
        from   back
        join   deliveries on deliveries.delivery_id =
                   case when back.request ~ '{OF_A_DELIVERY.pattern}' then left(back.request, {UUID_LENGTH})::uuid end
        join   events on events.position = deliveries.position
        where  back.depth < $3 and back.steps < {MAX_STEPS}
    )
    select max(depth) from back
"""


async def measure_depth(db: Database, request: str, subscription_id: UUID, limit: int) -> int:
    """Count this subscription's deliveries in the chain that led to this request, up to `limit`.

    Deliveries of other subscriptions do not count, since anybody can create any number of them.
    """
    if not OF_A_DELIVERY.match(request):
        return 0
    depth: int = await db.fetchval(MEASURE_DEPTH, request, subscription_id, limit)
    return depth

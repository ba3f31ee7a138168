"""What came of what, over the deliveries of events to those who act on them here."""

import re
from uuid import UUID

from app.database import Database

# A request that names a delivery as its reason does so by the delivery's id, with which of its messages it was or not.
OF_A_DELIVERY = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(-[0-9]+)?\Z")
ID = 36  # letters of an id
MAX_ID_LENGTH = 50  # deliveries that are looked back over
MEASURE_DEPTH = f"""
    with recursive back (request, depth, steps) as (
        select $1::text, 0, 0
        union all
        select events.request, back.depth + (deliveries.subscription_id = $2)::int, back.steps + 1
        from   back
        join   deliveries on deliveries.delivery_id =
                   case when back.request ~ '{OF_A_DELIVERY.pattern}' then left(back.request, {ID})::uuid end
        join   events on events.position = deliveries.position
        where  back.depth < $3 and back.steps < {MAX_ID_LENGTH}
    )
    select max(depth) from back
"""


async def measure_depth(db: Database, request: str, subscription_id: UUID, most: int) -> int:
    """How many of the deliveries that have led to this request, one for the other's sake, were this subscription's;
    `most` if it is that or more. Those of others say nothing: anybody can make as many as they like.
    """
    if not OF_A_DELIVERY.match(request):
        return 0
    found: int = await db.fetchval(MEASURE_DEPTH, request, subscription_id, most)
    return found

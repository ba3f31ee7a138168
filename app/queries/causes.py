"""What came of what, over the deliveries of events to those who act on them here."""

import re

from app.database import Database

# A request that names a delivery as its reason does so by the delivery's id, with which of its messages it was or not.
OF_A_DELIVERY = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(-[0-9]+)?\Z")
LONGEST = 36  # letters of an id
DEPTH = f"""
    with recursive back (request, depth) as (
        select $1::text, 0
        union all
        select events.request, back.depth + 1
        from   back
        join   deliveries on deliveries.delivery_id =
                   case when back.request ~ '{OF_A_DELIVERY.pattern}' then left(back.request, {LONGEST})::uuid end
        join   events on events.position = deliveries.position
        where  back.depth < $2
    )
    select max(depth) from back
"""


async def depth(db: Database, request: str, most: int) -> int:
    """How many deliveries, one for the other's sake, have led to this request; `most` if it is that or more."""
    if not OF_A_DELIVERY.match(request):
        return 0
    found: int = await db.fetchval(DEPTH, request, most)
    return found

"""The age of the oldest thing that each background loop has not done."""

from app.database import Database

# Work that is postponed, endpoints whose circuit is open and mirrors that are not due do not count.
AGES = """
    with ages as (
        select 'numbering' as loop, min(events.at) as since from unnumbered join events using (position)
        union all
        select 'pushes', min(begun_at) from open_pushes
        union all
        select 'work-' || queue, min(due_at) from work where done_at is null and due_at <= now() group by queue
        union all
        select   'deliveries', min(due_at)
        from     lanes left join circuits using (subscription_id)
        where    due_at <= now() and (open_until is null or open_until <= now())
        union all
        select 'mirrors', min(due_at) from mirrors where due_at <= now()
    )
    select loop, greatest(0, extract(epoch from now() - since))::float as seconds from ages where since is not null
"""
QUEUES = ("git", "mirror", "follow")
LOOPS = ("numbering", "pushes", *(f"work-{queue}" for queue in QUEUES), "deliveries", "mirrors")


async def measure_ages(db: Database) -> dict[str, float]:
    """Return the age in seconds for each loop; 0 for one that has done everything."""
    found = {row["loop"]: round(row["seconds"], 1) for row in await db.fetch(AGES)}
    return {loop: found.get(loop, 0.0) for loop in LOOPS}

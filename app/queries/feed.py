"""What the feed asks of the log: a page of events, without those the reader may not see."""

from dataclasses import dataclass

from app.database import Database, Row
from events.upcasts import today

# The SQL twin of core/access.py for events: a project's events follow the project, a private issue's
# its own rule, and what belongs to no project is between its user and the administrators.
READ = """
    select   numbers.seq, events.id, events.type, events.at, events.actor, events.project_id, events.stream,
             {data} as data, events.command_id, events.request, caused.id as cause_id,
             coalesce(projects.path, events.data ->> 'path') as path
    from     numbers
    join     events using (position)
    left join events caused on caused.position = events.cause
    left join projects on projects.project_id = events.project_id
    left join issues on events.type like 'issue.%' and issues.project_id = events.project_id
                     and issues.number = (events.data ->> 'number')::int
    where    numbers.seq > $1 and numbers.seq <= $2
    and      ($3 or case
                 when events.project_id is null then $4 <> '' and events.data ->> 'username' = $4
                 when projects.project_id is null then $4 <> '' and events.actor = $4
                 when projects.owner = $4 then true
                 when projects.private and not (projects.access -> 'user' ? $4 or projects.access -> 'group' ?| $9)
                     then false
                 when issues.private then $4 <> '' and (
                     $4 in (issues.author, coalesce(issues.assignee, ''))
                     or exists (select 1 from access
                                where  access.project_id = projects.project_id and access.level in ('commit', 'admin')
                                and    (access.party = 'user' and access.name = $4
                                        or access.party = 'group' and access.name = any ($9))))
                 else true
             end)
    and      ($5::text[] is null or events.type = any ($5) or split_part(events.type, '.', 1) || '.*' = any ($5))
    and      ($6::bigint is null or events.project_id = $6)
    and      ($7::text is null or events.actor = $7)
    order by numbers.seq
    limit    $8
"""


@dataclass(frozen=True, kw_only=True)
class FeedFilter:
    """`types` are whole names or families (`issue.*`)."""

    types: list[str] | None = None
    project_id: int | None = None
    actor: str | None = None


async def head(db: Database) -> int:
    """The number of the newest event; 0 when there is none."""
    newest: int = await db.fetchval("select coalesce(max(seq), 0) from numbers")
    return newest


async def read(
    db: Database,
    after: int,
    head: int,
    limit: int,
    wanted: FeedFilter,
    *,
    username: str,
    groups: list[str],
    everything: bool,
) -> list[Row]:
    read = READ.format(data=today())
    return await db.fetch(
        read, after, head, everything, username, wanted.types, wanted.project_id, wanted.actor, limit, groups
    )

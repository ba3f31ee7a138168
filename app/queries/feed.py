"""Queries of the event feed: events of the log that a reader may see."""

from dataclasses import dataclass

from app.database import Database, Row
from app.queries.projects import BY_ADDRESS
from events.log import LogEntry
from events.upcasts import current_data_sql

# What `is_visible_sql` reads, in a query of events.
RIGHTS = """
    left join projects on projects.project_id = events.project_id
    left join issues on events.type like 'issue.%' and issues.project_id = events.project_id
                     and issues.number = (events.data ->> 'number')::int
"""
OF_TRACKER = "split_part(events.type, '.', 1) in ('issue', 'tag', 'board', 'tracker')"
OF_PULL_REQUESTS = "events.type like 'pull-request.%'"


def _is_switched_off(setting: str) -> str:
    """The SQL condition that a feature of the project, which is on by default, is switched off."""
    return f"coalesce(projects.settings ->> '{setting}', 'true') = 'false'"


def is_visible_sql(everything: str, username: str, groups: str) -> str:
    """The SQL condition for events that a reader may see, in a query that joins RIGHTS. The arguments are parameters,
    such as `$3`: whether they see everything, their name (empty: anonymous) and their groups.

    It is the counterpart of core/access.py for events. Those of a project are visible with the project, of a private
    issue by the issue's own rule, and without a project only to their user. Those of a tracker, or of pull requests,
    are hidden while these are switched off. That a project was deleted is visible to those who might read it then.
    """
    before = "events.data -> 'snapshot'"
    was_readable = f"""
        coalesce(not ({before} ->> 'private')::boolean or {before} ->> 'owner' = {username}
                 or {before} -> 'access' -> 'user' ? {username} or {before} -> 'access' -> 'group' ?| {groups}, false)
    """
    return f"""
        ({everything} or case
             when events.type like 'subscription.%'
                 then {username} <> '' and coalesce(events.data ->> 'username', projects.owner) = {username}
             when events.project_id is null then {username} <> '' and events.data ->> 'username' = {username}
             when projects.project_id is null
                 then {username} <> '' and events.actor = {username} or events.type = 'project.deleted'
                 and ({was_readable})
             when {OF_TRACKER} and {_is_switched_off("issue_tracker")} then false
             when {OF_PULL_REQUESTS} and {_is_switched_off("pull_requests")} then false
             when projects.owner = {username} then true
             when projects.private and not (projects.access -> 'user' ? {username}
                                            or projects.access -> 'group' ?| {groups}) then false
             when issues.private then {username} <> '' and (
                 {username} in (issues.author, coalesce(issues.assignee, ''))
                 or exists (select 1 from access
                            where  access.project_id = projects.project_id and access.level in ('commit', 'admin')
                            and    (access.party = 'user' and access.name = {username}
                                    or access.party = 'group' and access.name = any ({groups}))))
             else true
         end)
    """


def administers_sql(everything: str, username: str, groups: str) -> str:
    """The SQL condition that a reader may change the settings of the event's project, in a query that joins RIGHTS."""
    return f"""
        coalesce({everything} or projects.owner = {username}
                 or projects.access #>> array['user', {username}, 'level'] = 'admin'
                 or exists (select 1 from jsonb_each(projects.access -> 'group') as granted
                            where  granted.key = any ({groups}) and granted.value ->> 'level' = 'admin'), false)
    """


VISIBLE = f"""
    from     numbers
    join     events using (position)
    left join events caused on caused.position = events.cause
    {RIGHTS}
    where    {{which}}
    and      {is_visible_sql("$3::boolean", "$4::text", "$9::text[]")}
    and      ($5::text[] is null or events.type = any ($5) or split_part(events.type, '.', 1) || '.*' = any ($5))
    and      ($6::bigint is null or events.project_id = $6)
    and      ($7::text is null or events.actor = $7)
    order by numbers.seq
    limit    $8
"""
# Only events of projects and their plugins have fields for administrators (app/feed/fields.py).
READ = f"""
    select   numbers.seq, events.id, events.type, events.at, events.actor, events.project_id, events.stream,
             {{data}} as data, events.command_id, events.request, caused.id as cause_id,
             coalesce(projects.path, events.data ->> 'path') as path,
             (events.type like 'project.%' or events.type like 'plugin.%')
             and {administers_sql("$3::boolean", "$4::text", "$9::text[]")} as administers
    {VISIBLE}
"""
READ_IDS = f"select numbers.seq, events.id {VISIBLE}"
RANGE = "numbers.seq > $1 and numbers.seq <= $2"
LISTED = "numbers.seq = any ($1) and $2::bigint is null"

# The oldest and the newest number, 1 and 0 when the log is empty; and the same with the project at an address.
ENDS = "select coalesce(min(seq), 1) as oldest, coalesce(max(seq), 0) as newest from numbers"
ENDS_AND_PROJECT = f"select ends.*, project.* from ({ENDS}) as ends left join ({BY_ADDRESS}) as project on true"


@dataclass(frozen=True, kw_only=True)
class FeedFilter:
    """A filter of events. `types` are whole names or families (`issue.*`)."""

    types: list[str] | None = None
    project_id: int | None = None
    actor: str | None = None

    def matches(self, entry: LogEntry) -> bool:
        """Whether the event passes the filter; must agree with the last conditions of VISIBLE."""
        family = f"{entry.type.partition('.')[0]}.*"
        return (
            (self.types is None or entry.type in self.types or family in self.types)
            and self.project_id in (None, entry.project_id)
            and self.actor in (None, entry.actor)
        )


@dataclass(frozen=True, kw_only=True)
class Reader:
    """The reader of the feed, whose rights decide which events exist for them."""

    username: str
    groups: list[str]
    everything: bool


async def read(db: Database, after: int, upto: int, limit: int, wanted: FeedFilter, reader: Reader) -> list[Row]:
    """Read the events numbered above `after` and up to `upto` that the reader may see."""
    return await _fetch(db, READ.format(data=current_data_sql(), which=RANGE), after, upto, limit, wanted, reader)


async def read_ids(db: Database, after: int, upto: int, wanted: FeedFilter, reader: Reader) -> list[Row]:
    """Read the numbers and ids of all events in the range that the reader may see."""
    return await _fetch(db, READ_IDS.format(which=RANGE), after, upto, None, wanted, reader)


async def read_numbers(db: Database, seqs: list[int], reader: Reader) -> list[Row]:
    """Read the events with these numbers that the reader may see."""
    return await _fetch(db, READ.format(data=current_data_sql(), which=LISTED), seqs, None, None, FeedFilter(), reader)


async def _fetch(
    db: Database,
    sql: str,
    after: int | list[int],
    upto: int | None,
    limit: int | None,
    wanted: FeedFilter,
    reader: Reader,
) -> list[Row]:
    return await db.fetch(
        sql,
        after,
        upto,
        reader.everything,
        reader.username,
        wanted.types,
        wanted.project_id,
        wanted.actor,
        limit,
        reader.groups,
    )

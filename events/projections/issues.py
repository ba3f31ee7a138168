"""Projections of issues, their comments, tags and counts."""

from events.issues import IssueCommented, IssueOpened, IssueSubscribed, IssueUpdated, TagDefined, TagDeleted
from events.projections import projection


def fullname_sql(username_sql: str) -> str:
    """The SQL for a user's full name, null for an unknown user. `username_sql` is an SQL expression."""
    return f"(select fullname from users where username = {username_sql})"


projection(IssueOpened)(f"""
    insert into issues (project_id, number, uid, title, content, author, author_fullname, assignee,
                        assignee_fullname, private, tags, milestone, priority, version, created_at, updated_at)
    select it.project_id, it.number, it.uid, it.title, it.content,
           it.author, coalesce({fullname_sql("it.author")}, it.author), it.assignee, {fullname_sql("it.assignee")},
           it.private, it.tags, it.milestone, it.priority, event.version, event.at, event.at
    from   event, jsonb_populate_record(null::issues, event.data) as it
    returning *
""")

projection(IssueOpened)("""
    insert into issue_tags (project_id, tag)
    select event.project_id, tag
    from   event, jsonb_array_elements_text(event.data -> 'tags') as tag
    on conflict do nothing
""")

projection(IssueOpened)("""
    insert into issue_files (project_id, name, number)
    select it.project_id, file, it.number
    from   event, jsonb_populate_record(null::issues, event.data) as it,
           jsonb_array_elements_text(event.data -> 'files') as file
    on conflict do nothing
""")

projection(IssueOpened)("""
    insert into issue_counts as counts (project_id, status, private, total)
    select event.project_id, 'Open', (event.data ->> 'private')::boolean, 1
    from   event
    on conflict (project_id, status, private) do update set total = counts.total + 1
""")

# A changed status counts one down for the old value and one up for the new one.
projection(IssueUpdated)("""
    insert into issue_counts as counts (project_id, status, private, total)
    select event.project_id, moved.status, issues.private, moved.by
    from   event
    join   issues on issues.project_id = event.project_id and issues.number = (event.data ->> 'number')::int,
           lateral (values (issues.status, -1), (event.data #>> '{changed,status}', 1)) as moved (status, by)
    where  event.data #>> '{changed,status}' <> issues.status
    on conflict (project_id, status, private) do update set total = counts.total + excluded.total
""")

projection(IssueCommented)(f"""
    insert into issue_comments (comment_id, project_id, number, comment, note, author, author_fullname, created_at)
    select it.comment_id, it.project_id, it.number, it.comment, it.note,
           it.author, coalesce({fullname_sql("it.author")}, it.author), event.at
    from   event, jsonb_populate_record(null::issue_comments, event.data) as it
    returning *
""")

projection(IssueCommented)("""
    update issues
    set    comments = issues.comments + 1, updated_at = event.at, version = event.version
    from   event
    where  issues.project_id = event.project_id
    and    issues.number = (event.data ->> 'number')::int
""")


def set_text(field: str) -> str:
    """The assignment of a text column. A changed field may be null, so `coalesce` would not do."""
    return f"""{field} = case when event.data -> 'changed' ? '{field}' then event.data #>> '{{changed,{field}}}'
               else issues.{field} end"""


def set_array(field: str, element_type: str) -> str:
    """The assignment of an array column, whose elements have this SQL type."""
    return f"""{field} = case when event.data -> 'changed' ? '{field}'
               then array(select jsonb_array_elements_text(event.data #> '{{changed,{field}}}'))::{element_type}[]
               else issues.{field} end"""


CLOSING = "event.data #>> '{changed,status}' = 'Closed'"

projection(IssueUpdated)(f"""
    update issues
    set    {set_text("title")},
           {set_text("content")},
           {set_text("status")},
           {set_text("close_status")},
           {set_text("milestone")},
           {set_text("assignee")},
           assignee_fullname = case when event.data -> 'changed' ? 'assignee'
               then {fullname_sql("event.data #>> '{changed,assignee}'")} else issues.assignee_fullname end,
           {set_array("tags", "text")},
           {set_array("depends", "int")},
           custom_fields = jsonb_strip_nulls(
               issues.custom_fields || coalesce(event.data #> '{{changed,custom_fields}}', '{{}}')),
           boards = issues.boards || coalesce(event.data #> '{{changed,boards}}', '{{}}'),
           closed_at = case when {CLOSING} then event.at else issues.closed_at end,
           closed_by = case when {CLOSING} then event.actor else issues.closed_by end,
           closed_by_fullname = case when {CLOSING}
               then coalesce({fullname_sql("event.actor")}, event.actor) else issues.closed_by_fullname end,
           comments = issues.comments + case when event.data ->> 'comment_id' is null then 0 else 1 end,
           updated_at = event.at, version = event.version
    from   event
    where  issues.project_id = event.project_id and issues.number = (event.data ->> 'number')::int
    returning issues.*
""")

projection(IssueUpdated)(f"""
    insert into issue_comments (comment_id, project_id, number, comment, note, author, author_fullname, notification,
                                created_at)
    select (event.data ->> 'comment_id')::bigint, event.project_id, (event.data ->> 'number')::int, '',
           jsonb_build_object('reason', 'updated') || (
               select jsonb_object_agg(key, value) from jsonb_each(event.data)
               where  key in ('changed', 'previous', 'details')),
           event.actor, coalesce({fullname_sql("event.actor")}, event.actor), true, event.at
    from   event
    where  event.data ->> 'comment_id' is not null
""")

projection(IssueUpdated)("""
    insert into issue_tags (project_id, tag)
    select event.project_id, tag
    from   event, jsonb_array_elements_text(event.data #> '{changed,tags}') as tag
    on conflict do nothing
""")

projection(IssueSubscribed)("""
    insert into issue_subscriptions (project_id, number, username, subscribed)
    select it.project_id, it.number, it.username, it.subscribed
    from   event, jsonb_populate_record(null::issue_subscriptions, event.data) as it
    on conflict (project_id, number, username) do update set subscribed = excluded.subscribed
""")

projection(TagDefined)("""
    insert into issue_tags (project_id, tag, color, description)
    select it.project_id, it.tag, it.color, it.description
    from   event, jsonb_populate_record(null::issue_tags, event.data) as it
    on conflict (project_id, tag) do update set color = excluded.color, description = excluded.description
    returning *
""")

projection(TagDeleted)("""
    delete from issue_tags
    using  event
    where  issue_tags.project_id = event.project_id and issue_tags.tag = event.data ->> 'tag'
    returning issue_tags.*
""")

projection(TagDeleted)("""
    update issues
    set    tags = array_remove(issues.tags, event.data ->> 'tag')
    from   event
    where  issues.project_id = event.project_id and issues.tags && array[event.data ->> 'tag']
""")

projection(TagDeleted)("""
    update projects
    set    revision = event.position
    from   event
    where  projects.project_id = event.project_id
""")

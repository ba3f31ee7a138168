"""Projections of pull requests, their comments, counts and commit flags."""

from events.projections import projection
from events.projections.issues import fullname_sql
from events.projects import ProjectDeleted
from events.pull_requests import (
    CommitFlagged,
    MergeStatusesFound,
    PullRequestCommented,
    PullRequestMerged,
    PullRequestOpened,
    PullRequestRebased,
    PullRequestSubscribed,
    PullRequestUpdated,
)
from events.repositories import RefUpdated

THIS = "pull_requests.project_id = event.project_id and pull_requests.number = (event.data ->> 'number')::int"

projection(PullRequestOpened)(f"""
    insert into pull_requests (project_id, number, uid, title, initial_comment, branch, branch_from, repo_from,
                               author, author_fullname, commit_start, commit_stop, allow_rebase, issues,
                               version, created_at, updated_on, last_updated)
    select it.project_id, it.number, it.uid, it.title, it.initial_comment, it.branch, it.branch_from, it.repo_from,
           it.author, coalesce({fullname_sql("it.author")}, it.author), it.commit_start, it.commit_stop,
           it.allow_rebase, coalesce(it.issues, '{{}}'), event.version, event.at, event.at, event.at
    from   event, jsonb_populate_record(null::pull_requests, event.data) as it
    returning *
""")

projection(PullRequestOpened)("""
    update issues
    set    related_prs = jsonb_build_array(
               jsonb_build_object('id', event.data -> 'number', 'title', event.data -> 'title')) || issues.related_prs
    from   event
    where  issues.project_id = event.project_id
    and    issues.number in (select value::int from jsonb_array_elements_text(event.data -> 'issues'))
""")

projection(PullRequestOpened)("""
    update projects
    set    last_number = (event.data ->> 'number')::int
    from   event
    where  projects.project_id = event.project_id
""")

projection(PullRequestOpened)("""
    insert into pull_request_counts as counts (project_id, status, total)
    select event.project_id, 'Open', 1
    from   event
    on conflict (project_id, status) do update set total = counts.total + 1
""")

# A changed status counts one down for the old value and one up for the new one.
for event_class, status in ((PullRequestUpdated, "event.data #>> '{changed,status}'"), (PullRequestMerged, "'Merged'")):
    projection(event_class)(f"""
        insert into pull_request_counts as counts (project_id, status, total)
        select event.project_id, moved.status, moved.by
        from   event join pull_requests on {THIS},
               lateral (values (pull_requests.status, -1), ({status}, 1)) as moved (status, by)
        where  {status} <> pull_requests.status
        on conflict (project_id, status) do update set total = counts.total + excluded.total
    """)

projection(PullRequestCommented)(f"""
    insert into pull_request_comments (comment_id, project_id, number, comment, commit, tree, filename, line,
                                       author, author_fullname, created_at)
    select it.comment_id, it.project_id, it.number, it.comment, it.commit, it.tree, it.filename, it.line,
           it.author, coalesce({fullname_sql("it.author")}, it.author), event.at
    from   event, jsonb_populate_record(null::pull_request_comments, event.data) as it
    returning *
""")

projection(PullRequestCommented)(f"""
    update pull_requests
    set    comments = pull_requests.comments + 1, updated_on = event.at, last_updated = event.at,
           score = case when event.data ->> 'vote' is null then pull_requests.score
               else pull_requests.score || jsonb_build_object(event.data ->> 'author', event.data -> 'vote') end,
           version = event.version
    from   event
    where  {THIS}
""")


def set_text(field: str) -> str:
    """The assignment of a text column. A changed field may be null, so `coalesce` would not do."""
    return f"""{field} = case when event.data -> 'changed' ? '{field}' then event.data #>> '{{changed,{field}}}'
               else pull_requests.{field} end"""


def number_array(field: str) -> str:
    """The SQL for the new value of an array of numbers."""
    return f"""case when event.data -> 'changed' ? '{field}'
               then array(select jsonb_array_elements_text(event.data #> '{{changed,{field}}}'))::int[]
               else pull_requests.{field} end"""


CLOSING = "event.data #>> '{changed,status}' = 'Closed'"

projection(PullRequestUpdated)(f"""
    update pull_requests
    set    {set_text("title")},
           {set_text("initial_comment")},
           {set_text("assignee")},
           assignee_fullname = case when event.data -> 'changed' ? 'assignee'
               then {fullname_sql("event.data #>> '{changed,assignee}'")} else pull_requests.assignee_fullname end,
           {set_text("status")},
           {set_text("commit_start")},
           {set_text("commit_stop")},
           issues = {number_array("issues")},
           commit_issues = {number_array("commit_issues")},
           merge_status = coalesce(event.data #>> '{{changed,merge_status}}', case
               when event.data -> 'changed' ? 'commit_stop' then 'unknown' else pull_requests.merge_status end),
           closed_at = case when {CLOSING} then event.at else pull_requests.closed_at end,
           closed_by = case when {CLOSING} then event.actor else pull_requests.closed_by end,
           closed_by_fullname = case when {CLOSING}
               then coalesce({fullname_sql("event.actor")}, event.actor) else pull_requests.closed_by_fullname end,
           comments = pull_requests.comments + case when event.data ->> 'comment_id' is null then 0 else 1 end,
           updated_on = case when event.data ->> 'comment_id' is null and not event.data -> 'changed' ?| array['title']
               then pull_requests.updated_on else event.at end,
           last_updated = event.at, version = event.version
    from   event
    where  {THIS}
    returning pull_requests.*
""")

# Update the list of related pull requests, newest first, of every issue that was or is now linked.
projection(PullRequestUpdated)(f"""
    update issues
    set    related_prs = coalesce((
               select jsonb_agg(shown order by (shown ->> 'id')::int desc)
               from   (select shown
                       from   jsonb_array_elements(issues.related_prs) as shown
                       where  (shown ->> 'id')::int <> now.number
                       union all
                       select jsonb_build_object('id', now.number, 'title', now.title)
                       where  issues.number = any (now.linked)) as those), '[]')
    from   (select event.project_id, pull_requests.number,
                   coalesce(event.data #>> '{{changed,title}}', pull_requests.title) as title,
                   pull_requests.issues || pull_requests.commit_issues as before,
                   {number_array("issues")} || {number_array("commit_issues")} as linked
            from   event, pull_requests
            where  {THIS} and event.data -> 'changed' ?| array['title', 'issues', 'commit_issues']) as now
    where  issues.project_id = now.project_id and issues.number = any (now.before || now.linked)
""")

projection(PullRequestUpdated, PullRequestMerged)(f"""
    insert into pull_request_comments (comment_id, project_id, number, comment, note, author, author_fullname,
                                       notification, created_at)
    select (event.data ->> 'comment_id')::bigint, event.project_id, (event.data ->> 'number')::int,
           '', event.data -> 'note', event.actor, coalesce({fullname_sql("event.actor")}, event.actor), true, event.at
    from   event
    where  event.data ->> 'comment_id' is not null
""")

projection(PullRequestMerged)(f"""
    update pull_requests
    set    status = 'Merged', merge_status = 'unknown', closed_at = event.at, closed_by = event.actor,
           closed_by_fullname = coalesce({fullname_sql("event.actor")}, event.actor),
           comments = pull_requests.comments + 1, updated_on = event.at, last_updated = event.at,
           version = event.version
    from   event
    where  {THIS}
    returning pull_requests.*
""")

projection(PullRequestRebased)(f"""
    update pull_requests
    set    merge_status = 'unknown', last_updated = event.at, version = event.version
    from   event
    where  {THIS}
""")

# A push to the target branch makes the known merge status obsolete.
projection(RefUpdated)("""
    update pull_requests
    set    merge_status = 'unknown'
    from   event
    where  pull_requests.project_id = event.project_id and pull_requests.status = 'Open'
    and    pull_requests.merge_status <> 'unknown'
    and    'refs/heads/' || pull_requests.branch = event.data ->> 'ref'
""")

# Statuses that were found before one of the two branches moved are obsolete. The project is locked before they are
# recorded (workers/perform.py), so no move can be missed.
projection(MergeStatusesFound)("""
    update pull_requests
    set    merge_status = found.status
    from   event
    cross  join jsonb_to_recordset(event.data -> 'statuses') as found (number int, commit_stop text, status text)
    left   join refs on refs.project_id = event.project_id and refs.ref = 'refs/heads/' || (event.data ->> 'branch')
    where  pull_requests.project_id = event.project_id and pull_requests.number = found.number
    and    pull_requests.status = 'Open' and pull_requests.branch = event.data ->> 'branch'
    and    pull_requests.commit_stop is not distinct from found.commit_stop
    and    nullif(refs.commit, repeat('0', 40)) is not distinct from event.data ->> 'base'
""")

projection(PullRequestSubscribed)("""
    insert into pull_request_subscriptions (project_id, number, username, subscribed)
    select it.project_id, it.number, it.username, it.subscribed
    from   event, jsonb_populate_record(null::pull_request_subscriptions, event.data) as it
    on conflict (project_id, number, username) do update set subscribed = excluded.subscribed
""")

projection(CommitFlagged)(f"""
    insert into commit_flags as flags (project_id, commit, uid, username, status, percent, comment, url, author,
                                       author_fullname, created_at, updated_at)
    select it.project_id, it.commit, it.uid, it.username, it.status, it.percent, it.comment, it.url, it.author,
           coalesce({fullname_sql("it.author")}, it.author), event.at, event.at
    from   event, jsonb_populate_record(null::commit_flags, event.data) as it
    on conflict (project_id, commit, uid) do update
    set    status = excluded.status, percent = excluded.percent, comment = excluded.comment, url = excluded.url,
           updated_at = excluded.updated_at
    returning *
""")

for table in (
    "pull_requests", "pull_request_counts", "pull_request_comments", "pull_request_subscriptions", "commit_flags",
):  # fmt: skip
    projection(ProjectDeleted)(f"""
        delete from {table}
        using  event
        where  {table}.project_id = event.project_id
    """)

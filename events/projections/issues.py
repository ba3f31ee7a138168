"""The issue tracker, as the listings see it."""

from events.issues import IssueCommented, IssueOpened
from events.projections import on


def fullname(of: str) -> str:
    """What to call somebody in a listing."""
    return f"(select fullname from users where username = {of})"


on(IssueOpened)(f"""
    insert into issues (project_id, number, uid, title, content, author, author_fullname, assignee,
                        assignee_fullname, private, tags, milestone, priority, version, created_at, updated_at)
    select it.project_id, it.number, it.uid, it.title, it.content,
           it.author, coalesce({fullname("it.author")}, it.author), it.assignee, {fullname("it.assignee")},
           it.private, it.tags, it.milestone, it.priority, event.version, event.at, event.at
    from   event, jsonb_populate_record(null::issues, event.data) as it
    returning *
""")

on(IssueOpened)("""
    insert into issue_tags (project_id, tag)
    select event.project_id, tag
    from   event, jsonb_array_elements_text(event.data -> 'tags') as tag
    on conflict do nothing
""")

on(IssueCommented)(f"""
    insert into issue_comments (comment_id, project_id, number, comment, author, author_fullname, created_at)
    select it.comment_id, it.project_id, it.number, it.comment,
           it.author, coalesce({fullname("it.author")}, it.author), event.at
    from   event, jsonb_populate_record(null::issue_comments, event.data) as it
    returning *
""")

on(IssueCommented)("""
    update issues
    set    comments = issues.comments + 1, updated_at = event.at, version = event.version
    from   event
    where  issues.project_id = event.project_id
    and    issues.number = (event.data ->> 'number')::int
""")

"""SQLAlchemy tables for the read tables of schema.sql, with the columns that composed queries use."""

from sqlalchemy import ARRAY, BigInteger, Boolean, DateTime, Integer, Text, Uuid, column, table

projects = table(
    "projects",
    column("project_id", BigInteger),
    column("owner", Text),
    column("name", Text),
    column("namespace", Text),
    column("forker", Text),
    column("private", Boolean),
    column("topics", ARRAY(Text)),
)

access = table(
    "access",
    column("project_id", BigInteger),
    column("party", Text),
    column("name", Text),
    column("level", Text),
)

groups = table(
    "groups",
    column("group_name", Text),
    column("display_name", Text),
    column("description", Text),
    column("group_type", Text),
    column("creator", Text),
)

group_members = table("group_members", column("group_name", Text), column("username", Text))

issues = table(
    "issues",
    column("project_id", BigInteger),
    column("number", Integer),
    column("uid", Text),
    column("title", Text),
    column("content", Text),
    column("status", Text),
    column("close_status", Text),
    column("author", Text),
    column("assignee", Text),
    column("private", Boolean),
    column("tags", ARRAY(Text)),
    column("milestone", Text),
    column("priority", Integer),
    column("created_at", DateTime(timezone=True)),
    column("updated_at", DateTime(timezone=True)),
    column("closed_at", DateTime(timezone=True)),
)

issue_files = table("issue_files", column("project_id", BigInteger), column("name", Text), column("number", Integer))

issue_counts = table(
    "issue_counts",
    column("project_id", BigInteger),
    column("status", Text),
    column("private", Boolean),
    column("total", BigInteger),
)

pull_request_counts = table(
    "pull_request_counts", column("project_id", BigInteger), column("status", Text), column("total", BigInteger)
)

pull_requests = table(
    "pull_requests",
    column("project_id", BigInteger),
    column("number", Integer),
    column("status", Text),
    column("author", Text),
    column("assignee", Text),
    column("tags", ARRAY(Text)),
    column("created_at", DateTime(timezone=True)),
    column("last_updated", DateTime(timezone=True)),
    column("closed_at", DateTime(timezone=True)),
)

tasks = table(
    "tasks",
    column("task_id", Uuid),
    column("kind", Text),
    column("status", Text),
    column("actor", Text),
    column("project_id", BigInteger),
    column("created_at", DateTime(timezone=True)),
)

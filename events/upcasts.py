"""Yesterday's JSON in today's fields, one expression for each change of a type of event.

Events are never rewritten, so whoever reads an old one reads it through these: followers, answers and a rebuild. An
upcast is an SQL expression over `data`, since projections are SQL; it has to leave alone what is of today already, as
`'{"color": null}' || data` does for a field that was added.
"""

UPCASTS: dict[str, list[str]] = {}


def build_upcast(type: str, expression: str) -> None:
    """Register a change. The changes of a type apply in the order in which they were registered."""
    UPCASTS.setdefault(type, []).append(expression)


for type in ("ref.updated", "commit.flagged"):
    build_upcast(type, "'{\"pull_request\": null}' || data")
build_upcast("issue.opened", "'{\"files\": []}' || data")
build_upcast("project.created", "'{\"mirrored_from\": null}' || data")
# The reason was a sentence.
for type in ("task.failed", "project.discarded"):
    build_upcast(
        type,
        """
        case when data ? 'params' then data
        else data || jsonb_build_object('reason', 'stated', 'params', jsonb_build_object('text', data -> 'reason')) end
        """,
    )


build_upcast("issue.commented", "'{\"note\": null}' || data")
build_upcast("issue.updated", "'{\"previous\": {}}' || data")
# A note was the comment's whole text. Web hooks have to know whether it is about a rebase or an assignee.
for type in ("pull-request.updated", "pull-request.merged"):
    build_upcast(
        type,
        """
        case when jsonb_typeof(data -> 'note') is distinct from 'string' then data
        else data || jsonb_build_object('note', case
            when starts_with(data ->> 'note', 'rebased onto ') then jsonb_build_object(
                'reason', 'rebased', 'onto', nullif(substr(data ->> 'note', 14), 'unknown target'))
            when starts_with(data ->> 'note', '**Metadata Update from ') then jsonb_build_object(
                'reason', case when data ->> 'note' like '%- Request assigned' then 'assigned' else 'unassigned' end)
            else jsonb_build_object('reason', 'stated', 'text', data -> 'note') end) end
        """,
    )


def current_data_sql(type: str = "events.type", data: str = "events.data") -> str:
    """The SQL for an event's data as today's code knows it."""
    if not UPCASTS:
        return data
    cases = "".join(f" when '{name}' then {_chain(data, changes)}" for name, changes in UPCASTS.items())
    return f"case {type}{cases} else {data} end"


def _chain(data: str, changes: list[str]) -> str:
    told = data
    for change in changes:
        told = f"(select {change} from (values ({told})) as event (data))"
    return told

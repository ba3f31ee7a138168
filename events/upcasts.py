"""Upcasts: SQL expressions that turn the data of old events into the current fields of their type.

Stored events are never rewritten, so every reader (followers, workers, a rebuild) applies these. An upcast is an SQL
expression over `data`, since projections are SQL. It must leave current data unchanged, as `'{"color": null}' || data`
does for an added field.
"""

UPCASTS: dict[str, list[str]] = {}


def register_upcast(event_type: str, expression: str) -> None:
    """Add an upcast for this type. The upcasts of a type apply in the order of their registration."""
    UPCASTS.setdefault(event_type, []).append(expression)


for event_type in ("ref.updated", "commit.flagged"):
    register_upcast(event_type, "'{\"pull_request\": null}' || data")
register_upcast("ref.updated", "'{\"options\": []}' || data")
register_upcast("issue.opened", "'{\"files\": []}' || data")
register_upcast("project.created", "'{\"mirrored_from\": null}' || data")
# In old events the reason is a sentence.
for event_type in ("task.failed", "project.discarded"):
    register_upcast(
        event_type,
        """
        case when data ? 'params' then data
        else data || jsonb_build_object('reason', 'stated', 'params', jsonb_build_object('text', data -> 'reason')) end
        """,
    )


register_upcast("issue.commented", "'{\"note\": null}' || data")
register_upcast("issue.updated", "'{\"previous\": {}}' || data")
# In old events a note is the whole text of the comment. Web hooks distinguish rebases and assignments.
for event_type in ("pull-request.updated", "pull-request.merged"):
    register_upcast(
        event_type,
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


def current_data_sql(type_sql: str = "events.type", data_sql: str = "events.data") -> str:
    """The SQL for an event's data with all upcasts applied."""
    if not UPCASTS:
        return data_sql
    cases = "".join(f" when '{name}' then {_chain_upcasts(data_sql, upcasts)}" for name, upcasts in UPCASTS.items())
    return f"case {type_sql}{cases} else {data_sql} end"


def _chain_upcasts(data_sql: str, upcasts: list[str]) -> str:
    chained = data_sql
    for upcast in upcasts:
        chained = f"(select {upcast} from (values ({chained})) as event (data))"
    return chained

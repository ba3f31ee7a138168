"""Projections of users and their API tokens."""

from events.projections import projection
from events.users import TokenIssued, TokenRevoked, UserCreated

projection(UserCreated)("""
    insert into users (username, user_id, fullname, email, admin, created_at)
    select it.username, event.position, it.fullname, it.email, it.admin, event.at
    from   event, jsonb_populate_record(null::users, event.data) as it
    returning *
""")

projection(TokenIssued)("""
    insert into tokens (token_id, username, prefix, description, acls, project_id, expires_at, created_at)
    select it.token_id, it.username, it.prefix, it.description, it.acls,
           (event.data ->> 'token_project')::bigint, it.expires_at, event.at
    from   event, jsonb_populate_record(null::tokens, event.data) as it
    returning *
""")

projection(TokenRevoked)("""
    update tokens
    set    revoked_at = event.at
    from   event
    where  tokens.token_id = (event.data ->> 'token_id')::uuid
    returning tokens.*
""")

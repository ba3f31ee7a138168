"""Subscriptions, as the numbering finds whom to send what."""

from events.projections import on
from events.projects import ProjectDeleted
from events.subscriptions import SubscriptionChanged, SubscriptionCreated, SubscriptionDeleted
from events.users import TokenRevoked

THIS = "subscriptions.subscription_id = (event.data ->> 'subscription_id')::uuid"

on(SubscriptionCreated)("""
    insert into subscriptions (subscription_id, owner, token_id, project_id, types, format, ordered, host, status,
                               created_at, changed_at)
    select it.subscription_id, event.data ->> 'username', it.token_id, it.project_id, it.types, it.format, it.ordered,
           it.host, it.status, event.at, event.at
    from   event, jsonb_populate_record(null::subscriptions, event.data) as it
    returning *
""")

on(SubscriptionChanged)(f"""
    update subscriptions
    set    types = case when event.data -> 'changed' ? 'types' then it.types else subscriptions.types end,
           format = coalesce(it.format, subscriptions.format),
           ordered = coalesce(it.ordered, subscriptions.ordered),
           host = coalesce(it.host, subscriptions.host),
           status = coalesce(it.status, subscriptions.status),
           reason = case when it.status is null then subscriptions.reason else it.reason end,
           changed_at = event.at
    from   event, jsonb_populate_record(null::subscriptions, event.data -> 'changed') as it
    where  {THIS}
    returning subscriptions.*
""")

on(SubscriptionDeleted)(f"""
    delete from subscriptions
    using  event
    where  {THIS}
    returning subscriptions.*
""")

on(TokenRevoked)("""
    update subscriptions
    set    status = 'ended', reason = 'Its token was revoked.', changed_at = event.at
    from   event
    where  subscriptions.token_id = (event.data ->> 'token_id')::uuid
""")

on(ProjectDeleted)("""
    update subscriptions
    set    status = 'ended', reason = 'Its project was deleted.', changed_at = event.at
    from   event
    where  subscriptions.project_id = event.project_id
""")

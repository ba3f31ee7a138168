"""Projections of webhook subscriptions. The relay reads them when it numbers an event, to create its deliveries."""

from events.projections import projection
from events.projects import ProjectConfigured, ProjectDeleted, ProjectDiscarded
from events.subscriptions import SubscriptionChanged, SubscriptionCreated, SubscriptionDeleted
from events.users import TokenRevoked

THIS = "subscriptions.subscription_id = (event.data ->> 'subscription_id')::uuid"
# A project's setting `web_hooks`: ids and hosts, in the order of the setting.
HOOKS = """
    select (item ->> 'id')::uuid as id, item ->> 'host' as host, place
    from   jsonb_array_elements(case when jsonb_typeof(event.data #> '{settings,web_hooks}') = 'array'
                                     then event.data #> '{settings,web_hooks}' else '[]' end)
           with ordinality as listed (item, place)
"""

projection(SubscriptionCreated)("""
    insert into subscriptions (subscription_id, owner, token_id, project_id, types, format, ordered, host, status,
                               created_at, changed_at)
    select it.subscription_id, event.data ->> 'username', it.token_id, it.project_id, it.types, it.format, it.ordered,
           it.host, it.status, event.at, event.at
    from   event, jsonb_populate_record(null::subscriptions, event.data) as it
    returning *
""")

projection(SubscriptionChanged)(f"""
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

projection(SubscriptionDeleted)(f"""
    delete from subscriptions
    using  event
    where  {THIS}
    returning subscriptions.*
""")

projection(TokenRevoked)("""
    update subscriptions
    set    status = 'ended', reason = 'Its token was revoked.', changed_at = event.at
    from   event
    where  subscriptions.token_id = (event.data ->> 'token_id')::uuid
""")

# Private projects have no web hooks. A URL that is entered again has the same id, so it revives its earlier
# subscription.
projection(ProjectConfigured)(f"""
    insert into subscriptions (subscription_id, project_id, format, ordered, host, hook, status, created_at, changed_at)
    select hook.id, event.project_id, 'pagure', true, hook.host, hook.place, 'active', event.at, event.at
    from   event join projects using (project_id) cross join lateral ({HOOKS}) as hook
    where  not projects.private
    order by hook.id
    on conflict (subscription_id) do update
    set    hook = excluded.hook,
           status = case when subscriptions.status = 'ended' then 'active' else subscriptions.status end,
           reason = case when subscriptions.status = 'ended' then null else subscriptions.reason end,
           changed_at = case when subscriptions.status = 'ended' then excluded.changed_at
               else subscriptions.changed_at end
    where  subscriptions.status = 'ended' or subscriptions.hook <> excluded.hook
""")

projection(ProjectConfigured)(f"""
    update subscriptions
    set    status = 'ended', reason = 'The project''s web hooks do not name it any more.', changed_at = event.at
    from   event
    where  subscriptions.project_id = event.project_id and event.data -> 'settings' ? 'web_hooks'
    and    subscriptions.hook is not null and subscriptions.status <> 'ended'
    and    subscriptions.subscription_id not in (select id from ({HOOKS}) as hook)
""")

# `gone` keeps the project for active web hooks, which still have to receive the event of its deletion.
projection(ProjectDeleted, ProjectDiscarded)("""
    update subscriptions
    set    status = 'ended', reason = 'Its project was deleted.', changed_at = event.at,
           gone = case when event.type = 'project.deleted' and subscriptions.hook is not null
               and subscriptions.status in ('active', 'paused')
               then to_jsonb(projects) - array['settings', 'plugins'] end
    from   event join projects on projects.project_id = event.project_id
    where  subscriptions.project_id = event.project_id
""")

-- From schema 2 to 3. The read tables are not changed here, since they are rebuilt from the log.
create table if not exists project_secrets (
    project_id bigint not null,
    name       text   not null,
    secret     text   not null,
    primary key (project_id, name)
);

-- The URLs and secrets of subscriptions; a URL may be as confidential as a password.
create table if not exists subscription_endpoints (
    subscription_id uuid        primary key,
    url             text        not null,
    secret          text        not null,
    previous_secret text,                            -- signs besides the new one until previous_until
    previous_until  timestamptz,
    headers         jsonb       not null default '{}',
    kept_at         timestamptz not null default now()
);

-- One row per event and matching subscription, written by the statement that numbers the event.
create table if not exists deliveries (
    delivery_id     uuid        primary key default uuidv7(),
    subscription_id uuid        not null,
    lane            bigint      not null,            -- events of one lane are sent in order
    seq             bigint      not null,            -- 0: a ping, which is not in the log
    position        bigint      references events,
    status          text        not null default 'waiting'
                    check (status in ('waiting', 'delivered', 'failed', 'suppressed')),
    reason          text,                            -- why it was suppressed
    attempts        int         not null default 0,  -- of the current round; a redelivery starts another
    parts           int         not null default 0,  -- accepted messages, if the event consists of several
    created_at      timestamptz not null default now(),
    ended_at        timestamptz,
    constraint ended_or_waiting check ((status = 'waiting') = (ended_at is null))
);
create index if not exists deliveries_of_a_subscription on deliveries (subscription_id, delivery_id);
create index if not exists waiting_deliveries on deliveries (subscription_id, lane, seq, delivery_id) where status = 'waiting';
create index if not exists ended_deliveries on deliveries (ended_at) where ended_at is not null;

create table if not exists delivery_attempts (
    delivery_id uuid        not null references deliveries on delete cascade,
    at          timestamptz not null,
    status      int,                                 -- of HTTP; null if there was no response
    duration_ms int         not null,
    error       text,                                -- class of failure, never text of the receiver
    excerpt     text,                                -- beginning of the response
    primary key (delivery_id, at)
);

-- Lanes with pending deliveries. The fencing token stops a worker that has lost its lease.
create table if not exists lanes (
    subscription_id uuid        not null,
    lane            bigint      not null,
    due_at          timestamptz not null,            -- when the first delivery may be sent
    news            int         not null default 1,  -- number of additions
    lease_until     timestamptz,                     -- null: not leased
    token           uuid,
    primary key (subscription_id, lane),
    constraint a_lease_has_a_token check ((lease_until is null) = (token is null))
);
create index if not exists due_lanes on lanes (due_at);

-- Circuit breakers of endpoints.
create table if not exists circuits (
    subscription_id uuid        primary key,
    failures        int         not null,            -- consecutive, over all lanes
    failing_since   timestamptz not null,
    open_until      timestamptz not null             -- nothing is sent before that
);

-- The log of runs, in a schema that PostgREST never exposes.
--
-- Who may do what: `authenticated` reads and writes a user's own rows under row-level security, and only while one of
-- the functions of the next migration acts as that user; `agent_api`, the login of the Python functions, may execute
-- those functions and nothing else. Lease tokens and stored claims are in tables no API role can read.

create schema agent;
revoke all on schema agent from public;

do $$
begin
  if not exists (select from pg_roles where rolname = 'agent_api') then
    -- Without a password nobody can log in; docs/deploy.md sets one.
    create role agent_api noinherit nologin;
  end if;
  if not pg_has_role('agent_api', 'authenticated', 'member') then
    grant authenticated to agent_api;
  end if;
end $$;

grant usage on schema agent to authenticated, agent_api;

-- A thread: an ordered conversation of one owner. `key` is the client's threadId.
create table agent.thread (
  id uuid primary key default gen_random_uuid(),
  owner uuid not null references auth.users (id) on delete cascade,
  key text not null check (char_length(key) between 1 and 128),
  title text check (char_length(title) <= 500),
  metadata jsonb not null default '{}' check (jsonb_typeof(metadata) = 'object'),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (owner, key)
);
create index thread_newest on agent.thread (owner, updated_at desc, id desc);

-- A run: one answering of a thread. `key` is the client's runId, and the idempotency key of POST /runs.
create table agent.run (
  id uuid primary key default gen_random_uuid(),
  thread_id uuid not null references agent.thread (id) on delete cascade,
  owner uuid not null references auth.users (id) on delete cascade,
  key text not null check (char_length(key) between 1 and 128),
  status text not null default 'queued' check (
    status in ('queued', 'in_progress', 'interrupted', 'completed', 'incomplete', 'cancelled', 'failed')
  ),
  request jsonb not null,
  request_hash text not null,
  attempt integer not null default 0,
  last_seq integer not null default 0,
  ending jsonb,
  created_at timestamptz not null default clock_timestamp(),
  started_at timestamptz,
  ended_at timestamptz,
  pruned_at timestamptz,
  emptied_at timestamptz,
  unique (owner, key),
  check ((ended_at is null) = (status in ('queued', 'in_progress'))),
  check ((ended_at is null) = (ending is null))
);
-- The rule "one live run per thread" is this index; no code can forget it.
create unique index run_one_live_per_thread on agent.run (thread_id) where status = 'in_progress';
create index run_queue on agent.run (thread_id, created_at) where status = 'queued';
create index run_unpruned on agent.run (ended_at) where pruned_at is null and ended_at is not null;
create index run_unemptied on agent.run (ended_at) where emptied_at is null and ended_at is not null;
create index run_latest on agent.run (thread_id, created_at desc);

-- What only the holder of a run may know, and what changes on every tick: kept narrow, gone once the run has ended.
create table agent.lease (
  run_id uuid primary key references agent.run (id) on delete cascade,
  token uuid,
  until timestamptz not null default '-infinity',
  attempt integer not null default 0,
  last_seq integer not null default 0,
  closed_seq integer not null default 0,
  asks integer not null default 0,
  suspected_at timestamptz,
  cancel_requested_at timestamptz,
  dispatched_at timestamptz
) with (fillfactor = 50);
create index lease_expiry on agent.lease (until);

-- The verified claims a run acts with, whoever executes it, and the token its last holder ended it with.
create table agent.run_secret (
  run_id uuid primary key references agent.run (id) on delete cascade,
  claims jsonb not null,
  last_token uuid
);

-- The log. Neighbouring deltas of one item share a row: `count` events from `seq` on.
create table agent.run_event (
  run_id uuid not null references agent.run (id) on delete cascade,
  seq integer not null check (seq > 0),
  count integer not null default 1 check (count > 0),
  attempt integer not null,
  type text not null,
  item_id uuid,
  data jsonb not null default '{}',
  created_at timestamptz not null default now(),
  primary key (run_id, seq),
  check (count = 1 or type = 'item.delta')
);
-- Exactly one ending.
create unique index run_event_ends_once on agent.run_event (run_id) where type in (
  'run.completed', 'run.interrupted', 'run.incomplete', 'run.cancelled', 'run.failed'
);

-- An item: a message, a piece of reasoning, a tool call or its result. `key` is the id on the wire.
create table agent.item (
  id uuid primary key default gen_random_uuid(),
  thread_id uuid not null references agent.thread (id) on delete cascade,
  run_id uuid references agent.run (id) on delete cascade,
  owner uuid not null references auth.users (id) on delete cascade,
  key text not null check (char_length(key) between 1 and 128),
  position bigint generated always as identity,
  kind text not null check (kind in ('message', 'reasoning', 'tool_call', 'tool_result')),
  data jsonb not null,
  created_at timestamptz not null default now(),
  superseded_at timestamptz
);
create unique index item_key on agent.item (thread_id, key) where superseded_at is null;
create index item_order on agent.item (thread_id, position) where superseded_at is null;
create index item_of_run on agent.item (run_id);
-- What a deleted user leaves is found without a scan.
create index item_of_owner on agent.item (owner);

-- A question a run ended with; the answer comes with a later run of the thread.
create table agent.interrupt (
  id uuid primary key default gen_random_uuid(),
  run_id uuid not null references agent.run (id) on delete cascade,
  thread_id uuid not null references agent.thread (id) on delete cascade,
  owner uuid not null references auth.users (id) on delete cascade,
  call_id uuid,
  reason text not null,
  message text,
  response_schema jsonb,
  expires_at timestamptz,
  status text not null default 'open' check (status in ('open', 'resolved', 'cancelled')),
  payload jsonb,
  resolved_by uuid references agent.run (id) on delete set null,
  resolved_at timestamptz,
  created_at timestamptz not null default now(),
  check ((status = 'open') = (resolved_at is null))
);
create index interrupt_open on agent.interrupt (thread_id) where status = 'open';
create index interrupt_of_run on agent.interrupt (run_id);
create index interrupt_of_owner on agent.interrupt (owner);

-- Who did what, without content. Nobody may change or remove a row; it goes with its user.
create table agent.audit_event (
  id bigint primary key generated always as identity,
  owner uuid not null references auth.users (id) on delete cascade,
  action text not null,
  outcome text not null,
  run_id uuid,
  request_id text,
  subject text,
  arguments_hash text,
  created_at timestamptz not null default now()
);
create index audit_event_newest on agent.audit_event (owner, id desc);

alter table agent.thread enable row level security;
alter table agent.run enable row level security;
alter table agent.lease enable row level security;
alter table agent.run_secret enable row level security;
alter table agent.run_event enable row level security;
alter table agent.item enable row level security;
alter table agent.interrupt enable row level security;
alter table agent.audit_event enable row level security;

create policy own on agent.thread to authenticated
  using (owner = (select auth.uid())) with check (owner = (select auth.uid()));

create policy read_own on agent.run for select to authenticated using (owner = (select auth.uid()));
create policy ask on agent.run for insert to authenticated with check (
  owner = (select auth.uid()) and exists (select from agent.thread where id = thread_id)
);

create policy read_own on agent.run_event for select to authenticated using (
  exists (select from agent.run where id = run_id)
);

create policy read_own on agent.item for select to authenticated using (owner = (select auth.uid()));
create policy supersede_own on agent.item for update to authenticated
  using (owner = (select auth.uid())) with check (owner = (select auth.uid()));
create policy say on agent.item for insert to authenticated with check (
  owner = (select auth.uid())
  and exists (select from agent.thread where id = thread_id)
  and kind in ('message', 'tool_result')
);

create policy read_own on agent.interrupt for select to authenticated using (owner = (select auth.uid()));
create policy answer_own on agent.interrupt for update to authenticated
  using (owner = (select auth.uid())) with check (owner = (select auth.uid()));

create policy read_own on agent.audit_event for select to authenticated using (owner = (select auth.uid()));

-- Column by column: a user's session can ask, and never decide a status, a token or a position in the log.
grant select, insert (owner, key, title, metadata), update (title, metadata, updated_at)
  on agent.thread to authenticated;
grant select, insert (thread_id, owner, key, request, request_hash) on agent.run to authenticated;
grant select on agent.run_event, agent.audit_event to authenticated;
grant select, insert (thread_id, run_id, owner, key, kind, data), update (superseded_at)
  on agent.item to authenticated;
grant select, update (status, payload, resolved_by, resolved_at) on agent.interrupt to authenticated;

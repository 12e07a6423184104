-- All tables, with their constraints and the indexes that are not for search. A rule that a constraint can hold is
-- one.

-- A thread: an ordered conversation of one owner.
create table agent.thread (
  id uuid primary key default gen_random_uuid(),
  owner uuid not null references auth.users (id) on delete cascade,
  client_thread_id text not null check (char_length(client_thread_id) between 1 and 128),
  title text check (char_length(title) <= 500),
  metadata jsonb not null default '{}' check (jsonb_typeof(metadata) = 'object'),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  archived_at timestamptz,
  -- '-infinity': its user requested the deletion of everything, so its rows are removed without delay.
  deleted_at timestamptz,
  -- The Idempotency-Key of the request that created the thread, and the hash of its body.
  request_key text check (char_length(request_key) between 1 and 255),
  request_hash text,
  unique (owner, client_thread_id)
);
create unique index thread_request on agent.thread (owner, request_key) where request_key is not null;
create index thread_active on agent.thread (owner, updated_at desc, id desc)
  where archived_at is null and deleted_at is null;
create index thread_archived on agent.thread (owner, updated_at desc, id desc)
  where archived_at is not null and deleted_at is null;
create index thread_deleted on agent.thread (deleted_at) where deleted_at is not null;
-- Metadata under its owner: `jsonb_path_ops` hashes whole paths, so a search never reads other owners' entries.
create index thread_metadata on agent.thread
  using gin (jsonb_set('{}', array[owner::text], metadata) jsonb_path_ops)
  where metadata <> '{}' and deleted_at is null;

-- A run: one answer to a thread. `client_run_id` is also the idempotency key of POST /runs.
create table agent.run (
  -- A UUIDv7 (RFC 9562, section 5.7), because Postgres before 18 cannot make one: the first 48 bits of a random
  -- UUIDv4 are replaced by the time in milliseconds, and bits 52 and 53 turn version 4 into 7; the variant is the
  -- same. An expression of built-in functions, because a user's insert evaluates it, and a user may execute no
  -- function of this schema.
  id uuid primary key default encode(
    set_bit(
      set_bit(
        overlay(
          uuid_send(gen_random_uuid())
          placing substring(int8send((extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6
        ), 52, 1
      ), 53, 1
    ), 'hex'
  )::uuid,
  thread_id uuid not null references agent.thread (id) on delete cascade,
  owner uuid not null references auth.users (id) on delete cascade,
  client_run_id text not null check (char_length(client_run_id) between 1 and 128),
  -- The name of the agent that answers, which is that of its function.
  agent text not null check (agent ~ '^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$'),
  -- The fingerprint of the agent's declaration in the process that admitted the run. Another process may execute the
  -- run with a newer declaration.
  agent_hash text check (char_length(agent_hash) between 1 and 64),
  -- A user may not name a status. `start_run` sets this setting around the insertion of a run that starts at once.
  status text not null default case current_setting('agent.run_starts', true)
    when 'true' then 'in_progress' else 'queued'
  end check (
    status in ('queued', 'in_progress', 'interrupted', 'completed', 'incomplete', 'cancelled', 'failed')
  ),
  request jsonb not null,
  request_hash text not null,
  attempt integer not null default 0,
  last_seq integer not null default 0,
  ending jsonb,
  -- The SHA-256 of its last holder's token. By it, a holder that did not get the result of its ending is recognised.
  ended_by bytea,
  created_at timestamptz not null default clock_timestamp(),
  started_at timestamptz default case current_setting('agent.run_starts', true)
    when 'true' then clock_timestamp()
  end,
  ended_at timestamptz,
  -- When its deltas were deleted, and when all its events but the ending were.
  pruned_at timestamptz,
  emptied_at timestamptz,
  unique (owner, client_run_id),
  check ((ended_at is null) = (status in ('queued', 'in_progress'))),
  check ((ended_at is null) = (ending is null))
);
-- This index is the rule "one run of a thread is in progress at a time".
create unique index run_one_live_per_thread on agent.run (thread_id) where status = 'in_progress';
create index run_queue on agent.run (thread_id, created_at) where status = 'queued';
create index run_unpruned on agent.run (ended_at) where pruned_at is null and ended_at is not null;
create index run_unemptied on agent.run (ended_at) where emptied_at is null and ended_at is not null;
create index run_latest on agent.run (thread_id, created_at desc);

-- The lease of a run that has not ended: what only its holder may know, and what changes with every tick.
create table agent.lease (
  run_id uuid primary key references agent.run (id) on delete cascade,
  -- Null: the run waits, or its last holder released it.
  token uuid,
  until timestamptz not null default '-infinity',
  attempt integer not null default 0,
  -- Where the log ends, and where its last closed turn does.
  last_seq integer not null default 0,
  closed_seq integer not null default 0,
  -- Both since the last closed turn: how many attempts were not released, and how many were.
  unfinished_attempts integer not null default 0,
  stalled_attempts integer not null default 0,
  -- When a process first saw that this lease had expired.
  suspected_at timestamptz,
  cancel_requested_at timestamptz,
  dispatched_at timestamptz,
  -- Refusals by runners since the last claim, all for the same reason: how many, the last one, and for how long.
  refusals integer not null default 0,
  refusal_reason text check (refusal_reason in ('agent_gone', 'agent_broken')),
  refused_at timestamptz,
  refused_for interval not null default '0'
) with (fillfactor = 50);
create index lease_expiry on agent.lease (until);

-- The verified claims a run acts with, whichever process executes it. Deleted with the lease when the run ends.
create table agent.run_secret (
  run_id uuid primary key references agent.run (id) on delete cascade,
  claims jsonb not null
);

-- The log. Neighbouring deltas of one item share a row: `count` events from `seq` on. Each unique index contains
-- `run_id`, so that this table can be partitioned by it.
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
-- This index is the rule "exactly one ending".
create unique index run_event_ends_once on agent.run_event (run_id) where type in (
  'run.completed', 'run.interrupted', 'run.incomplete', 'run.cancelled', 'run.failed'
);

-- An item: a message, a piece of reasoning, a tool call or its result, a summary of the items before it. `key` is its id on the wire.
create table agent.item (
  id uuid primary key default gen_random_uuid(),
  thread_id uuid not null references agent.thread (id) on delete cascade,
  run_id uuid references agent.run (id) on delete cascade,
  owner uuid not null references auth.users (id) on delete cascade,
  key text not null check (char_length(key) between 1 and 128),
  position bigint generated always as identity,
  kind text not null check (kind in ('message', 'reasoning', 'tool_call', 'tool_result', 'summary')),
  data jsonb not null,
  created_at timestamptz not null default now(),
  superseded_at timestamptz
);
create unique index item_key on agent.item (thread_id, key) where superseded_at is null;
create index item_order on agent.item (thread_id, position) where superseded_at is null;
create index item_of_run on agent.item (run_id);
-- Superseded items too; the deletion of a user or a thread also uses these.
create index item_of_owner_in_order on agent.item (owner, position);
create index item_of_thread on agent.item (thread_id, position);

-- A question that ended a run; a later run of the thread brings the answer.
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
create index interrupt_of_thread on agent.interrupt (thread_id);
create index interrupt_resolved_by on agent.interrupt (resolved_by) where resolved_by is not null;

-- What the turns of a run cost. Only inserted: with one counter per user, the batches of two processes could deadlock.
create table agent.turn_usage (
  run_id uuid not null references agent.run (id) on delete cascade,
  seq integer not null,
  owner uuid not null references auth.users (id) on delete cascade,
  model text,
  input_tokens bigint not null default 0,
  output_tokens bigint not null default 0,
  created_at timestamptz not null default now(),
  primary key (run_id, seq)
);
create index turn_usage_of_owner on agent.turn_usage (owner, created_at) include (input_tokens, output_tokens);

-- What today's deleted runs had cost, so that deleting threads gives a user no new tokens.
create table agent.day_usage (
  owner uuid not null references auth.users (id) on delete cascade,
  day date not null,
  tokens bigint not null,
  primary key (owner, day)
);

-- A tool call that runs now takes one of its user's slots. It is held as long as the attempt that took it holds the
-- run, so that a takeover frees the slots of a dead process, and no longer than `until`.
create table agent.call_slot (
  owner uuid not null references auth.users (id) on delete cascade,
  slot smallint not null check (slot > 0),
  run_id uuid not null references agent.run (id) on delete cascade,
  attempt integer not null,
  call_id text not null,
  -- After a takeover the same call may run twice, and each frees only the slot of its own token.
  token uuid not null,
  until timestamptz not null,
  primary key (owner, slot)
) with (fillfactor = 50);
create index call_slot_of_run on agent.call_slot (run_id);

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

-- A user's notes, which the tools that ship write and read.
create table agent.note (
  id uuid primary key default gen_random_uuid(),
  owner uuid not null references auth.users (id) on delete cascade,
  -- The key of the call that wrote it: the same call, made again, writes nothing.
  key text not null check (char_length(key) between 1 and 128),
  text text not null check (char_length(text) between 1 and 10000),
  created_at timestamptz not null default now(),
  words tsvector not null generated always as (to_tsvector('simple', text)) stored,
  unique (owner, key)
);
create index note_newest on agent.note (owner, created_at desc, id desc);
create index note_words on agent.note using gin (words);

-- The weather of a place is the same for every user.
create table agent.weather_cache (
  place text not null check (char_length(place) <= 200),
  unit text not null,
  answer jsonb not null,
  fetched_at timestamptz not null default now(),
  primary key (place, unit)
);
create index weather_cache_oldest on agent.weather_cache (fetched_at);

-- The tools that MCP servers listed, so that a new process can prompt its model before it reaches these servers.
create table agent.tool_list (
  server text not null,
  role text not null,
  tools jsonb not null check (jsonb_typeof(tools) = 'array'),
  fetched_at timestamptz not null default now(),
  primary key (server, role)
);

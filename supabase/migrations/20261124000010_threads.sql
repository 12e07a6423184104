-- Threads for people: lists, names, archive, deletion. What a thread is shown as, and what becomes of a deleted one.
--
-- Pages are found by keyset over an index that begins with the owner, in functions of the owner of the schema: a policy
-- lets no condition of a query go before its own, so most indexes could not be used by a user. What is found is then
-- read as the user, so row-level security decides what is shown.
--
-- The indexes are built while their tables are locked for writing; on a large database, build them before, by these
-- names and with `concurrently`.

alter table agent.thread
  add column archived_at timestamptz,
  add column deleted_at timestamptz,
  -- The Idempotency-Key of the request that created the thread, and the hash of its body.
  add column request_key text check (char_length(request_key) between 1 and 255),
  add column request_hash text;

create unique index if not exists thread_request on agent.thread (owner, request_key) where request_key is not null;
create index if not exists thread_active on agent.thread (owner, updated_at desc, id desc)
  where archived_at is null and deleted_at is null;
create index if not exists thread_archived on agent.thread (owner, updated_at desc, id desc)
  where archived_at is not null and deleted_at is null;
create index if not exists thread_deleted on agent.thread (deleted_at) where deleted_at is not null;
-- Metadata under its owner: `jsonb_path_ops` hashes whole paths, so what others keep is never read.
create index if not exists thread_metadata on agent.thread
  using gin (jsonb_set('{}', array[owner::text], metadata) jsonb_path_ops)
  where metadata <> '{}' and deleted_at is null;
-- No query reads it any more.
drop index if exists agent.thread_newest;

-- A user's items and a thread's, superseded ones too; also what a deletion goes by.
create index if not exists item_of_owner_in_order on agent.item (owner, position);
create index if not exists item_of_thread on agent.item (thread_id, position);
drop index if exists agent.item_of_owner;
create index if not exists interrupt_of_thread on agent.interrupt (thread_id);
create index if not exists interrupt_resolved_by on agent.interrupt (resolved_by) where resolved_by is not null;

-- A deleted thread is not there for its user, and nothing in it.
alter policy own on agent.thread
  using (owner = (select auth.uid()) and deleted_at is null) with check (owner = (select auth.uid()));
alter policy read_own on agent.run using (
  owner = (select auth.uid()) and exists (select from agent.thread where id = thread_id)
);
alter policy read_own on agent.item using (
  owner = (select auth.uid()) and exists (select from agent.thread where id = thread_id)
);
alter policy read_own on agent.interrupt using (
  owner = (select auth.uid()) and exists (select from agent.thread where id = thread_id)
);
grant insert (request_key, request_hash), update (archived_at) on agent.thread to authenticated;

-- What is left of today's spending once its runs are removed: deleting threads gives no new tokens.
create table agent.day_usage (
  owner uuid not null references auth.users (id) on delete cascade,
  day date not null,
  tokens bigint not null,
  primary key (owner, day)
);
alter table agent.day_usage enable row level security;
create policy read_own on agent.day_usage for select to authenticated using (owner = (select auth.uid()));
grant select on agent.day_usage to authenticated;

create or replace function agent.tokens_left(p_owner uuid, p_daily bigint) returns bigint
language sql stable security definer set search_path = '' as $$
  select p_daily - coalesce(sum(input_tokens + output_tokens), 0)::bigint - coalesce((
           select tokens from agent.day_usage where owner = p_owner and day = (now() at time zone 'UTC')::date
         ), 0)
    from agent.turn_usage
   where p_daily > 0 and owner = p_owner and created_at >= date_trunc('day', now(), 'UTC')
   having p_daily > 0
$$;

-- An ending is activity. Whoever has the thread locked is active in it too, and may wait for this run's lease.
create function agent.touch_thread() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update agent.thread set updated_at = now() where id = (
    select id from agent.thread where id = new.thread_id for no key update skip locked
  );
  return null;
end $$;

create trigger touch_thread after update of ended_at on agent.run
  for each row when (old.ended_at is null and new.ended_at is not null) execute function agent.touch_thread();

-- As before, and a thread that was deleted is not made again under its key.
create or replace function agent.open_thread(
  p_claims jsonb, p_client_thread_id text, p_client_run_id text, out thread_id uuid, out run_id uuid, out run_hash text
)
language plpgsql set search_path = '' as $$
begin
  perform agent.act_as(p_claims);
  insert into agent.thread (owner, key) values (auth.uid(), p_client_thread_id) on conflict (owner, key) do nothing;
  -- "No key": inserting an item or an event of this thread must not wait for an admission.
  select id into thread_id from agent.thread
   where owner = auth.uid() and key = p_client_thread_id for no key update;
  if not found then
    raise exception using errcode = 'AF001', message = 'thread_deleted';
  end if;
  select id, request_hash into run_id, run_hash from agent.run where owner = auth.uid() and key = p_client_run_id;
  perform set_config('role', 'none', true);
end $$;

-- End a run that nobody holds and whose thread was deleted: it was told to stop, and its holder died. Null: it is not.
create function agent.refuse_deleted_run(p_run uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
  held agent.lease;
begin
  perform from agent.thread
    where id = (select thread_id from agent.run where id = p_run) and deleted_at is not null for no key update;
  if not found then
    return null;
  end if;
  select * into held from agent.lease where run_id = p_run for update skip locked;
  if not found or held.until > now() then
    return null;
  end if;
  perform agent.end_unheld(p_run, 'run.cancelled', '{}');
  return jsonb_build_object('next_run', agent.next_of(p_run));
end $$;

create or replace function agent.take_run(p_run uuid, p_lease jsonb, p_limits jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_taken jsonb := coalesce(
    agent.refuse_old_run(p_run, (p_limits ->> 'max_hours')::numeric), agent.refuse_deleted_run(p_run)
  );
begin
  if v_taken is not null then
    return v_taken;
  end if;
  v_taken := agent.claim_run(p_run, p_lease);
  perform set_config('role', 'none', true);
  return agent.with_limits(v_taken, p_limits);
end $$;

-- As `follow_runs`, and a row `run.gone` for each reader of a run that is not there any more.
create function agent.poll_runs(p_reads jsonb)
returns table (reader integer, seq integer, count integer, attempt integer, type text, item_id uuid, data jsonb)
language sql stable security definer set search_path = '' as $$
  select * from agent.follow_runs(p_reads)
  union all
  select wanted.reader, 0, 0, 0, 'run.gone', null, 'null'
    from jsonb_to_recordset(p_reads) as wanted (reader integer, run_id uuid)
   where not exists (select from agent.run where id = wanted.run_id)
$$;

create function agent.wire_time(p_at timestamptz) returns text
language sql immutable set search_path = '' as $$
  select to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- Threads as they are shown, in this order. They were read as their user.
create function agent.show_threads(p_threads agent.thread[]) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object(
           'id', id, 'thread_id', key, 'title', title, 'metadata', metadata,
           'created_at', agent.wire_time(created_at), 'updated_at', agent.wire_time(updated_at),
           'archived_at', agent.wire_time(archived_at),
           'status', case
             when exists (select from agent.run where thread_id = shown.id and status = 'in_progress') then 'running'
             when exists (select from agent.run where thread_id = shown.id and status = 'queued') then 'queued'
             when exists (select from agent.interrupt where thread_id = shown.id and status = 'open'
                             and coalesce(expires_at > now(), true)) then 'waiting'
             else 'idle'
           end
         ) order by nth), '[]')
    from unnest(p_threads) with ordinality shown
      (id, owner, key, title, metadata, created_at, updated_at, archived_at, deleted_at, request_key, request_hash, nth)
$$;

-- One thread, and its entity tag: the hash of what is shown.
create function agent.show_thread(p_thread agent.thread) returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object('thread', shown, 'etag', substr(encode(sha256(convert_to(shown::text, 'UTF8')), 'hex'), 1, 32))
    from (select agent.show_threads(array[p_thread]) -> 0 as shown) one
$$;

-- Create a thread. The same request key and body again gives the thread as it stands now, and `created` false.
create function agent.create_thread(
  p_claims jsonb, p_key text, p_title text, p_metadata jsonb, p_request_key text, p_request_hash text
) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_thread agent.thread;
  v_is_new boolean;
begin
  perform agent.act_as(p_claims);
  insert into agent.thread (owner, key, title, metadata, request_key, request_hash)
  values (auth.uid(), p_key, p_title, p_metadata, p_request_key, p_request_hash)
  on conflict do nothing returning * into v_thread;
  v_is_new := found;
  if not v_is_new then
    select * into v_thread from agent.thread where owner = auth.uid() and request_key = p_request_key;
    if found and v_thread.request_hash <> p_request_hash then
      raise exception using errcode = 'AF001', message = 'idempotency_key_reused';
    elsif not found then
      raise exception using errcode = 'AF001', message = case
        when exists (select from agent.thread where owner = auth.uid() and key = p_key) then 'thread_exists'
        else 'thread_deleted'
      end;
    end if;
  end if;
  perform set_config('role', 'none', true);
  return agent.show_thread(v_thread) || jsonb_build_object('created', v_is_new);
end $$;

-- The user's thread, if it has one of these entity tags (an array; null: whatever it has); locked, if it is to be changed.
create function agent.own_thread(p_claims jsonb, p_key text, p_locks boolean, p_tags jsonb) returns agent.thread
language plpgsql set search_path = '' as $$
declare
  v_thread agent.thread;
begin
  perform agent.act_as(p_claims);
  if p_locks then
    select * into v_thread from agent.thread where owner = auth.uid() and key = p_key for no key update;
  else
    select * into v_thread from agent.thread where owner = auth.uid() and key = p_key;
  end if;
  if not found then
    raise exception using errcode = 'AF001', message = 'thread_not_found';
  end if;
  perform set_config('role', 'none', true);
  if not coalesce(p_tags ? (agent.show_thread(v_thread) ->> 'etag'), true) then
    raise exception using errcode = 'AF001', message = 'precondition_failed';
  end if;
  return v_thread;
end $$;

create function agent.read_thread(p_claims jsonb, p_key text) returns jsonb
language plpgsql set search_path = '' as $$
begin
  return agent.show_thread(agent.own_thread(p_claims, p_key, false, null));
end $$;

-- Change what the members of `p_changes` name: title, metadata (as a whole), archived. That is no activity.
create function agent.update_thread(p_claims jsonb, p_key text, p_changes jsonb, p_tags jsonb) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_thread agent.thread := agent.own_thread(p_claims, p_key, true, p_tags);
begin
  perform agent.act_as(p_claims);
  update agent.thread
     set title = case when p_changes ? 'title' then p_changes ->> 'title' else title end,
         metadata = coalesce(p_changes -> 'metadata', metadata),
         archived_at = case
           when not p_changes ? 'archived' then archived_at
           when (p_changes ->> 'archived')::boolean then coalesce(archived_at, now())
         end
   where id = v_thread.id
  returning * into strict v_thread;
  perform set_config('role', 'none', true);
  return agent.show_thread(v_thread);
end $$;

-- Hide threads and cancel what runs or waits in them. Their user is known to own them.
create function agent.bury_threads(p_threads uuid[], p_at timestamptz, p_request_id text) returns void
language plpgsql security definer set search_path = '' as $$
declare
  v_run uuid;
begin
  update agent.thread set deleted_at = p_at where id = any (p_threads);
  for v_run in
    select id from agent.run where thread_id = any (p_threads) and status in ('queued', 'in_progress') order by id
  loop
    perform agent.request_cancel(v_run, p_request_id);
  end loop;
end $$;

create function agent.audit_request(p_owner uuid, p_action text, p_subject text, p_request_id text) returns void
language sql security definer set search_path = '' as $$
  insert into agent.audit_event (owner, action, outcome, subject, request_id)
  values (p_owner, p_action, 'ok', p_subject, p_request_id)
$$;

create function agent.delete_thread(p_claims jsonb, p_key text, p_tags jsonb, p_request_id text) returns void
language plpgsql set search_path = '' as $$
declare
  v_thread agent.thread := agent.own_thread(p_claims, p_key, true, p_tags);
begin
  perform agent.bury_threads(array[v_thread.id], now(), p_request_id);
  perform agent.audit_request(v_thread.owner, 'thread.delete', p_key, p_request_id);
end $$;

-- Remove rows of deleted threads, so many items at most and a tenth as many runs, and the threads that have none left.
-- Returns how many rows went. A thread with a run that has not ended is left: whoever holds it, or did, may write yet.
create function agent.remove_threads(p_threads uuid[], p_rows integer) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_threads uuid[];
  v_runs uuid[];
  v_items integer;
  v_gone integer;
begin
  select coalesce(array_agg(doomed), '{}') into v_threads from unnest(p_threads) doomed where not exists (
    select from agent.run where thread_id = doomed and ended_at is null
  );
  delete from agent.item where id in (select id from agent.item where thread_id = any (v_threads) limit p_rows);
  get diagnostics v_items = row_count;
  select coalesce(array_agg(id), '{}') into v_runs from (
    select id from agent.run where thread_id = any (v_threads) limit p_rows / 10
  ) batch;
  insert into agent.day_usage (owner, day, tokens)
  select owner, (now() at time zone 'UTC')::date, sum(input_tokens + output_tokens) from agent.turn_usage
   where run_id = any (v_runs) and created_at >= date_trunc('day', now(), 'UTC') group by owner
  on conflict (owner, day) do update set tokens = day_usage.tokens + excluded.tokens;
  delete from agent.day_usage where day < (now() at time zone 'UTC')::date and owner in (
    select owner from agent.thread where id = any (v_threads)
  );
  delete from agent.run where id = any (v_runs);
  delete from agent.thread where id = any (v_threads)
     and not exists (select from agent.item where thread_id = thread.id)
     and not exists (select from agent.run where thread_id = thread.id);
  get diagnostics v_gone = row_count;
  return v_items + cardinality(v_runs) + v_gone;
end $$;

-- Remove what was deleted long enough ago, oldest first, a few thousand rows at a time. Returns how many.
create function agent.purge_threads(p_after interval, p_limit integer) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_doomed uuid[];
begin
  select coalesce(array_agg(id), '{}') into v_doomed from (
    select id from agent.thread where deleted_at < now() - p_after
     order by deleted_at limit p_limit for update skip locked
  ) doomed;
  return agent.remove_threads(v_doomed, 5000);
end $$;

-- All that time takes away, a few at a time: of ended runs as `prune_runs` says, and deleted threads.
create function agent.prune(
  p_deltas_after interval, p_events_after interval, p_deleted_after interval, p_limit integer
) returns integer
language sql security definer set search_path = '' as $$
  select agent.prune_runs(p_deltas_after, p_events_after, p_limit) + agent.purge_threads(p_deleted_after, p_limit)
$$;

-- Everything of a user is gone for every reader once this returns; `remove_erased` then takes the rows. The audit, which
-- has no content, stays for as long as the user does.
create function agent.erase_user(p_claims jsonb, p_request_id text) returns void
language plpgsql set search_path = '' as $$
declare
  v_owner uuid;
  v_threads uuid[];
begin
  perform agent.act_as(p_claims);
  v_owner := auth.uid();
  select coalesce(array_agg(id), '{}') into v_threads from (
    select id from agent.thread where owner = v_owner order by id for no key update
  ) mine;
  -- A statement of its own, behind the locks: it sees the note of a call that they waited for.
  delete from agent.note where owner = v_owner;
  perform set_config('role', 'none', true);
  perform agent.bury_threads(v_threads, '-infinity', p_request_id);
  perform agent.hasten_removal(v_owner);
  perform agent.audit_request(v_owner, 'user.erase', null, p_request_id);
end $$;

-- Write a note for a call of a run, or, without one, for its user. A run's is there before its thread is deleted, or not
-- at all: the deletion waits for a call that is writing, and behind it there is no run.
create function agent.write_note(p_claims jsonb, p_run uuid, p_key text, p_text text) returns jsonb
language plpgsql set search_path = '' as $$
begin
  perform agent.act_as(p_claims);
  if p_run is not null then
    perform from agent.thread where id = (select thread_id from agent.run where id = p_run) for share;
    if not found then
      raise exception using errcode = 'AF001', message = 'run_not_found';
    end if;
  end if;
  perform set_config('role', 'none', true);
  return agent.add_note(p_claims, p_key, p_text);
end $$;

-- What was deleted before is due too.
create function agent.hasten_removal(p_owner uuid) returns void
language sql security definer set search_path = '' as $$
  update agent.thread set deleted_at = '-infinity' where owner = p_owner and deleted_at > '-infinity'
$$;

create function agent.remove_erased(p_claims jsonb) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_doomed uuid[];
begin
  select coalesce(array_agg(id), '{}') into v_doomed from (
    select id from agent.thread where owner = (p_claims ->> 'sub')::uuid and deleted_at = '-infinity'
     limit 1000 for update skip locked
  ) doomed;
  return agent.remove_threads(v_doomed, 5000);
end $$;

revoke execute on all functions in schema agent from public, anon, authenticated;
grant execute on all functions in schema agent to agent_api;

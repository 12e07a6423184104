-- What is deleted after a time, or at a user's request: a few rows at a time.

-- Remove rows of deleted threads, at most so many items and a tenth as many runs, and the threads that are empty then.
-- Returns how many rows went. A thread with a run that has not ended is left, because its holder may still write.
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

-- Delete what is due, a few at a time: the deltas of ended runs after an hour at the earliest (the items they added
-- up to stay), all their events but the ending, and deleted threads. Returns how many runs and rows were touched.
create function agent.prune(
  p_deltas_after interval, p_events_after interval, p_deleted_after interval, p_limit integer
) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  v_pruned uuid[];
  v_emptied uuid[];
  v_threads uuid[];
begin
  with touched as (
    update agent.run set pruned_at = now() where id in (
      select id from agent.run
       where pruned_at is null and ended_at < now() - greatest(p_deltas_after, interval '1 hour')
       order by ended_at limit p_limit for update skip locked
    ) returning id
  )
  select coalesce(array_agg(id), '{}') into v_pruned from touched;
  delete from agent.run_event where run_id = any (v_pruned) and type = 'item.delta';
  with touched as (
    update agent.run set emptied_at = now() where id in (
      select id from agent.run
       where emptied_at is null and pruned_at is not null and ended_at < now() - p_events_after
       order by ended_at limit p_limit for update skip locked
    ) returning id
  )
  select coalesce(array_agg(id), '{}') into v_emptied from touched;
  delete from agent.run_event using agent.run
   where run_event.run_id = any (v_emptied) and run.id = run_event.run_id and run_event.seq < run.last_seq;
  select coalesce(array_agg(id), '{}') into v_threads from (
    select id from agent.thread where deleted_at < now() - p_deleted_after
     order by deleted_at limit p_limit for update skip locked
  ) due;
  return cardinality(v_pruned) + cardinality(v_emptied) + agent.remove_threads(v_threads, 5000);
end $$;

-- Delete everything of a user: it is hidden from every reader once this returns, and `remove_erased` then removes the
-- rows. The audit, which has no content, stays for as long as the user does.
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
  ) locked;
  -- A separate statement after the locks, so that it sees the note of a call they waited for.
  delete from agent.note where owner = v_owner;
  perform set_config('role', 'none', true);
  perform agent.hide_threads(v_threads, '-infinity', p_request_id);
  perform agent.expire_deleted_threads(v_owner);
  perform agent.audit(v_owner, 'user.erase', 'ok', null, null, p_request_id);
end $$;

-- Let the removal of threads that this user deleted before begin at once, too.
create function agent.expire_deleted_threads(p_owner uuid) returns void
language sql security definer set search_path = '' as $$
  update agent.thread set deleted_at = '-infinity' where owner = p_owner and deleted_at > '-infinity'
$$;

-- Remove rows of a user who requested the deletion of everything. Returns how many; zero: none are left.
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

-- Threads over REST: create, read, change, delete, list, export.
--
-- Pages are found by keyset in functions of the schema's owner, over an index that begins with the owner of the rows:
-- under row-level security a user's query could not use most indexes, because a policy is checked before any
-- condition that might leak. The rows that were found are then read as the user, so row-level security decides what
-- is shown.

create function agent.wire_time(p_at timestamptz) returns text
language sql immutable set search_path = '' as $$
  select to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

-- Threads as they are shown, in this order. The caller has read them as their user.
create function agent.show_threads(p_threads agent.thread[]) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object(
           'id', id, 'thread_id', client_thread_id, 'title', title, 'metadata', metadata,
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
      (id, owner, client_thread_id, title, metadata, created_at, updated_at, archived_at, deleted_at, request_key,
       request_hash, nth)
$$;

-- One thread as it is shown, and its entity tag: the hash of that.
create function agent.show_thread(p_thread agent.thread) returns jsonb
language sql stable security definer set search_path = '' as $$
  select jsonb_build_object(
           'thread', shown, 'etag', substr(encode(sha256(convert_to(shown::text, 'UTF8')), 'hex'), 1, 32)
         )
    from (select agent.show_threads(array[p_thread]) -> 0 as shown) one
$$;

-- Create a thread. The same request key and body again returns the thread as it stands, with `created` false.
create function agent.create_thread(
  p_claims jsonb, p_client_thread_id text, p_title text, p_metadata jsonb, p_request_key text, p_request_hash text
) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_thread agent.thread;
  v_is_new boolean;
begin
  perform agent.act_as(p_claims);
  insert into agent.thread (owner, client_thread_id, title, metadata, request_key, request_hash)
  values (auth.uid(), p_client_thread_id, p_title, p_metadata, p_request_key, p_request_hash)
  on conflict do nothing returning * into v_thread;
  v_is_new := found;
  if not v_is_new then
    select * into v_thread from agent.thread where owner = auth.uid() and request_key = p_request_key;
    if found and v_thread.request_hash <> p_request_hash then
      raise exception using errcode = 'AF001', message = 'idempotency_key_reused';
    elsif not found then
      raise exception using errcode = 'AF001', message = case
        when exists (select from agent.thread where owner = auth.uid() and client_thread_id = p_client_thread_id)
          then 'thread_exists'
        else 'thread_deleted'
      end;
    end if;
  end if;
  perform set_config('role', 'none', true);
  return agent.show_thread(v_thread) || jsonb_build_object('created', v_is_new);
end $$;

-- The user's thread, if it has one of these entity tags (an array; null: any), and locked if it is about to change.
create function agent.find_thread(p_claims jsonb, p_client_thread_id text, p_locks boolean, p_tags jsonb)
returns agent.thread
language plpgsql set search_path = '' as $$
declare
  v_thread agent.thread;
begin
  perform agent.act_as(p_claims);
  if p_locks then
    select * into v_thread from agent.thread
     where owner = auth.uid() and client_thread_id = p_client_thread_id for no key update;
  else
    select * into v_thread from agent.thread where owner = auth.uid() and client_thread_id = p_client_thread_id;
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

create function agent.read_thread(p_claims jsonb, p_client_thread_id text) returns jsonb
language plpgsql set search_path = '' as $$
begin
  return agent.show_thread(agent.find_thread(p_claims, p_client_thread_id, false, null));
end $$;

-- Change what the members of `p_changes` name: title, metadata (as a whole), archived. This does not count as
-- activity.
create function agent.update_thread(p_claims jsonb, p_client_thread_id text, p_changes jsonb, p_tags jsonb)
returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_thread agent.thread := agent.find_thread(p_claims, p_client_thread_id, true, p_tags);
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

-- Hide threads from their user and cancel their runs. The caller knows that the user owns them.
create function agent.hide_threads(p_threads uuid[], p_at timestamptz, p_request_id text) returns void
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

create function agent.delete_thread(p_claims jsonb, p_client_thread_id text, p_tags jsonb, p_request_id text)
returns void
language plpgsql set search_path = '' as $$
declare
  v_thread agent.thread := agent.find_thread(p_claims, p_client_thread_id, true, p_tags);
begin
  perform agent.hide_threads(array[v_thread.id], now(), p_request_id);
  perform agent.audit(v_thread.owner, 'thread.delete', 'ok', null, p_client_thread_id, p_request_id);
end $$;

-- The ids of a user's threads after a position, newest activity first: one scan of each index, and none that is not
-- needed.
create function agent.find_threads(p_owner uuid, p_archived boolean, p_at timestamptz, p_id uuid, p_limit integer)
returns uuid[]
language plpgsql stable security definer set search_path = '' as $$
begin
  return array(
    select id from (
      (select updated_at, id from agent.thread
        where owner = p_owner and archived_at is null and deleted_at is null and p_archived is not true
          and (updated_at, id) < (p_at, p_id) order by updated_at desc, id desc limit p_limit)
      union all
      (select updated_at, id from agent.thread
        where owner = p_owner and archived_at is not null and deleted_at is null and p_archived is not false
          and (updated_at, id) < (p_at, p_id) order by updated_at desc, id desc limit p_limit)
    ) merged order by updated_at desc, id desc limit p_limit
  );
end $$;

-- Of these, the ids of those that contain the metadata. Common metadata is found among the newest threads, rare
-- metadata by its index. Which of the two it is cannot be known beforehand, and a planner that mistakes rare for
-- common would read every thread.
create function agent.find_threads_with(
  p_owner uuid, p_metadata jsonb, p_archived boolean, p_at timestamptz, p_id uuid, p_limit integer
) returns uuid[]
language plpgsql stable security definer set search_path = '' as $$
declare
  v_wanted jsonb := jsonb_build_object(p_owner, p_metadata);
  v_newest uuid[] := agent.find_threads(p_owner, p_archived, p_at, p_id, 500);
  v_found uuid[];
begin
  v_found := array(
    select id from agent.thread where id = any (v_newest) and metadata @> p_metadata
     order by updated_at desc, id desc limit p_limit
  );
  if cardinality(v_found) = p_limit or cardinality(v_newest) < 500 then
    return v_found;
  end if;
  return array(
    with found as materialized (
      select id, updated_at from agent.thread
       where jsonb_set('{}', array[owner::text], metadata) @> v_wanted and metadata <> '{}' and deleted_at is null
         and owner = p_owner and (p_archived is null or p_archived = (archived_at is not null))
         and (updated_at, id) < (p_at, p_id)
    )
    select id from found order by updated_at desc, id desc limit p_limit
  );
end $$;

-- A page of a user's threads. `p_after` is the position of the last one on the page before: {at, id}.
create function agent.list_threads(
  p_claims jsonb, p_metadata jsonb, p_archived boolean, p_after jsonb, p_limit integer
) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_owner uuid := (p_claims ->> 'sub')::uuid;
  v_at timestamptz := coalesce((p_after ->> 'at')::timestamptz, 'infinity');
  v_id uuid := coalesce((p_after ->> 'id')::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
  v_ids uuid[];
  v_threads agent.thread[];
begin
  if coalesce(p_metadata, '{}') = '{}' then
    v_ids := agent.find_threads(v_owner, p_archived, v_at, v_id, p_limit);
  else
    v_ids := agent.find_threads_with(v_owner, p_metadata, p_archived, v_at, v_id, p_limit);
  end if;
  perform agent.act_as(p_claims);
  select array_agg(thread order by updated_at desc, id desc) into v_threads
    from agent.thread where id = any (v_ids) and owner = auth.uid();
  perform set_config('role', 'none', true);
  return agent.show_threads(v_threads);
end $$;

-- The rows of a cursor, up to 4 MB, which bounds the memory of every process on the way. What the cursor may see was
-- decided when it was opened. Volatile, because a planner may evaluate a stable function early, which would fetch too.
create function agent.fetch_rows(p_cursor refcursor) returns jsonb[]
language plpgsql set search_path = '' as $$
declare
  v_row jsonb;
  v_rows jsonb[] := '{}';
  v_bytes bigint := 0;
begin
  loop
    fetch p_cursor into v_row;
    exit when not found;
    v_rows := array_append(v_rows, v_row);
    v_bytes := v_bytes + pg_column_size(v_row);
    exit when v_bytes >= 4000000;
  end loop;
  close p_cursor;
  return v_rows;
end $$;

-- A page of a thread's items between two positions, from the lower end or the upper, in ascending order, and whether
-- there are more on either side. The whole page is one snapshot.
create function agent.list_items(
  p_claims jsonb, p_client_thread_id text, p_above bigint, p_below bigint, p_from_above boolean, p_superseded boolean,
  p_limit integer
) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_thread agent.thread := agent.find_thread(p_claims, p_client_thread_id, false, null);
  v_above bigint := coalesce(p_above, 0);
  v_below bigint := coalesce(p_below, 9223372036854775807);
  v_cursor refcursor;
  v_items jsonb;
begin
  perform agent.act_as(p_claims);
  -- One query each, so that each scans one index; nested, so that no sort reads more rows than the page has.
  if p_superseded and p_from_above then
    open v_cursor for
      select to_jsonb(page) from (
        select * from agent.item where thread_id = v_thread.id and position > v_above and position < v_below
           order by position desc limit p_limit) page;
  elsif p_superseded then
    open v_cursor for
      select to_jsonb(page) from (
        select * from agent.item where thread_id = v_thread.id and position > v_above and position < v_below
           order by position limit p_limit) page;
  elsif p_from_above then
    open v_cursor for
      select to_jsonb(page) from (
        select * from agent.item where thread_id = v_thread.id and position > v_above and position < v_below
           and superseded_at is null order by position desc limit p_limit) page;
  else
    open v_cursor for
      select to_jsonb(page) from (
        select * from agent.item where thread_id = v_thread.id and position > v_above and position < v_below
           and superseded_at is null order by position limit p_limit) page;
  end if;
  perform set_config('role', 'none', true);
  v_items := agent.show_items(to_jsonb(agent.fetch_rows(v_cursor)));
  return jsonb_build_object(
    'items', v_items,
    'has_lower', agent.has_items(v_thread.id, 0, coalesce((v_items -> 0 ->> 'position')::bigint, 0), p_superseded),
    'has_higher', agent.has_items(
      v_thread.id, coalesce((v_items -> -1 ->> 'position')::bigint, 9223372036854775807), 9223372036854775807,
      p_superseded)
  );
end $$;

-- Whether a thread has an item strictly between two positions.
create function agent.has_items(p_thread uuid, p_above bigint, p_below bigint, p_superseded boolean) returns boolean
language plpgsql stable security definer set search_path = '' as $$
begin
  if p_superseded then
    return exists (select from agent.item where thread_id = p_thread and position > p_above and position < p_below);
  end if;
  return exists (select from agent.item where thread_id = p_thread and position > p_above and position < p_below
                    and superseded_at is null);
end $$;

-- Items as they are shown. The caller has read them as their user.
create function agent.show_items(p_items jsonb) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object(
           'position', item.position, 'id', item.key, 'kind', item.kind, 'run_id', client_run_id,
           'created_at', agent.wire_time(item.created_at), 'superseded_at', agent.wire_time(item.superseded_at),
           'data', item.data
         ) order by item.position), '[]')
    from jsonb_to_recordset(p_items) as item
           (position bigint, key text, kind text, run_id uuid, created_at timestamptz, superseded_at timestamptz,
            data jsonb)
    left join agent.run on run.id = item.run_id
$$;

-- An event's data without the state that a tool keeps while its user answers.
create function agent.without_state(p_data jsonb) returns jsonb
language sql immutable set search_path = '' as $$
  select case when p_data ? 'interrupts' then jsonb_set(p_data, '{interrupts}', (
    select coalesce(jsonb_agg(question - 'state' order by nth), '[]')
      from jsonb_array_elements(p_data -> 'interrupts') with ordinality as listed (question, nth)
  )) else p_data end
$$;

-- Runs as they are shown, in this order. The caller has read them as their user.
create function agent.show_runs(p_runs agent.run[]) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object(
           'id', (run).id, 'run_id', (run).client_run_id, 'agent', (run).agent, 'status', (run).status,
           'attempt', (run).attempt,
           'at', agent.wire_time((run).created_at), 'created_at', agent.wire_time((run).created_at),
           'started_at', agent.wire_time((run).started_at), 'ended_at', agent.wire_time((run).ended_at),
           'usage', (run).ending -> 'usage', 'ending', agent.without_state((run).ending - 'usage')
         ) order by nth), '[]')
    from (select p_runs[nth] as run, nth from generate_subscripts(p_runs, 1) nth) shown
$$;

-- A page of a thread's runs, newest first, after a position: {at, id}.
create function agent.list_runs(p_claims jsonb, p_client_thread_id text, p_after jsonb, p_limit integer) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_thread agent.thread := agent.find_thread(p_claims, p_client_thread_id, false, null);
  v_at timestamptz := coalesce((p_after ->> 'at')::timestamptz, 'infinity');
  v_id uuid := coalesce((p_after ->> 'id')::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
  v_runs agent.run[];
begin
  perform agent.act_as(p_claims);
  select array_agg(page::agent.run order by page.created_at desc, page.id desc) into v_runs
    from (select * from agent.run where thread_id = v_thread.id and (created_at, id) < (v_at, v_id)
           order by created_at desc, id desc limit p_limit) page;
  perform set_config('role', 'none', true);
  return agent.show_runs(v_runs);
end $$;

-- Rows of a run's log after a sequence number. The run is read as the user, and its log without another check.
create function agent.list_events(
  p_claims jsonb, p_client_thread_id text, p_client_run_id text, p_after integer, p_limit integer
) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_thread agent.thread := agent.find_thread(p_claims, p_client_thread_id, false, null);
  v_run uuid;
begin
  perform agent.act_as(p_claims);
  select id into v_run from agent.run
   where owner = auth.uid() and client_run_id = p_client_run_id and thread_id = v_thread.id;
  if not found then
    raise exception using errcode = 'AF001', message = 'run_not_found';
  end if;
  perform set_config('role', 'none', true);
  return agent.show_events(v_run, p_after, p_limit);
end $$;

create function agent.show_events(p_run uuid, p_after integer, p_limit integer) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object(
           'attempt', attempt, 'seq', seq, 'count', count, 'type', type, 'item_id', item_id,
           'data', agent.without_state(data), 'created_at', agent.wire_time(created_at)
         ) order by seq), '[]')
    from (select * from agent.run_event where run_id = p_run and seq > p_after order by seq limit p_limit) page
$$;

-- The thread that is about to be exported. An export is audited before its first byte.
create function agent.export_thread(p_claims jsonb, p_client_thread_id text, p_request_id text) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_thread agent.thread := agent.find_thread(p_claims, p_client_thread_id, false, null);
begin
  perform agent.audit(v_thread.owner, 'thread.export', 'ok', null, p_client_thread_id, p_request_id);
  return agent.show_thread(v_thread);
end $$;

create function agent.export_user(p_claims jsonb, p_request_id text) returns void
language sql set search_path = '' as $$
  select agent.audit((p_claims ->> 'sub')::uuid, 'user.export', 'ok', null, null, p_request_id)
$$;

-- All rows of a user, kind by kind, a page at a time. Each row has the `cursor` from which the next page continues.
create function agent.export_rows(p_claims jsonb, p_kind text, p_after text, p_limit integer) returns jsonb
language plpgsql stable set search_path = '' set timezone = 'UTC' as $$
declare
  v_cursor refcursor;
begin
  perform agent.act_as(p_claims);
  case p_kind
    when 'thread' then
      open v_cursor for select to_jsonb(page) from (
        select client_thread_id as thread_id, title, metadata, created_at, updated_at, archived_at,
               client_thread_id as cursor
          from agent.thread where owner = auth.uid() and client_thread_id > p_after
         order by client_thread_id limit p_limit) page;
    when 'run' then
      open v_cursor for select to_jsonb(page) from (
        select client_run_id as run_id, client_thread_id as thread_id, agent, agent_hash, status, attempt, request,
               ending, run.created_at, started_at, ended_at, client_run_id as cursor, (
                 select coalesce(jsonb_agg(to_jsonb(turn) - array['run_id', 'owner', 'seq'] order by seq), '[]')
                   from agent.turn_usage turn where run_id = run.id
               ) as turns
          from agent.run join agent.thread on thread.id = run.thread_id
         where run.owner = auth.uid() and client_run_id > p_after order by client_run_id limit p_limit) page;
    when 'item' then
      open v_cursor for select to_jsonb(page) from (
        select item.key as id, client_thread_id as thread_id, client_run_id as run_id, kind, data, item.created_at,
               superseded_at, position as cursor
          from agent.item join agent.thread on thread.id = item.thread_id left join agent.run on run.id = item.run_id
         where item.owner = auth.uid() and position > p_after::bigint order by position limit p_limit) page;
    when 'interrupt' then
      open v_cursor for select to_jsonb(page) from (
        select interrupt.id as interrupt_id, client_thread_id as thread_id, client_run_id as run_id, reason, message,
               response_schema, expires_at, interrupt.status, payload, resolved_at, interrupt.created_at,
               interrupt.id as cursor
          from agent.interrupt join agent.thread on thread.id = interrupt.thread_id
               join agent.run on run.id = interrupt.run_id
         where interrupt.owner = auth.uid() and interrupt.id > p_after::uuid order by interrupt.id limit p_limit) page;
    when 'note' then
      open v_cursor for select to_jsonb(page) from (
        select id, text, created_at, key as cursor
          from agent.note where owner = auth.uid() and key > p_after order by key limit p_limit) page;
    when 'audit_event' then
      open v_cursor for select to_jsonb(page) from (
        select action, outcome, request_id, subject, arguments_hash, created_at, id as cursor
          from agent.audit_event where owner = auth.uid() and id > p_after::bigint order by id limit p_limit) page;
  end case;
  perform set_config('role', 'none', true);
  return (
    select coalesce(jsonb_agg(
             case when jsonb_typeof(shown -> 'ending') = 'object'
               then jsonb_set(shown, '{ending}', agent.without_state(shown -> 'ending')) else shown
             end order by nth), '[]')
      from unnest(agent.fetch_rows(v_cursor)) with ordinality as page (shown, nth)
  );
end $$;

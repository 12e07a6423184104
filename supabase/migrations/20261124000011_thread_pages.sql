-- Pages: of threads, of a thread's items and runs, of a run's log, of what a search finds, of all a user has.

-- A user's threads behind a place, newest activity first: their ids. One walk through each index; a walk that is not
-- asked for is not begun.
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

-- Of these, those that contain the metadata. What many have is among the newest; what few have is found by the index.
-- Nobody can tell beforehand which it is: a planner that takes something rare for common walks through everything.
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

-- A page of a user's threads. `p_after` is the place of the last one seen: {at, id}.
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

-- The rows of a walk up to 4 MB: nobody has to hold more. What it may see was decided when it was opened, and by whom.
-- Volatile, as a planner that tries it out would have walked already.
create function agent.rows_of(p_walk refcursor) returns jsonb[]
language plpgsql set search_path = '' as $$
declare
  v_row jsonb;
  v_rows jsonb[] := '{}';
  v_bytes bigint := 0;
begin
  loop
    fetch p_walk into v_row;
    exit when not found;
    v_rows := array_append(v_rows, v_row);
    v_bytes := v_bytes + pg_column_size(v_row);
    exit when v_bytes >= 4000000;
  end loop;
  close p_walk;
  return v_rows;
end $$;

-- A page of a thread's items between two positions, from its lower end or its upper, in ascending order; and whether
-- there are others on either side of it. A whole page is one snapshot.
create function agent.list_items(
  p_claims jsonb, p_client_thread_id text, p_above bigint, p_below bigint, p_from_above boolean, p_superseded boolean,
  p_limit integer
) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_thread agent.thread := agent.own_thread(p_claims, p_client_thread_id, false, null);
  v_above bigint := coalesce(p_above, 0);
  v_below bigint := coalesce(p_below, 9223372036854775807);
  v_walk refcursor;
  v_items jsonb;
begin
  perform agent.act_as(p_claims);
  -- One query each, so that each is a walk through one index; nested, so that no sort reads what the walk leaves out.
  if p_superseded and p_from_above then
    open v_walk for
      select to_jsonb(page) from (
        select * from agent.item where thread_id = v_thread.id and position > v_above and position < v_below
           order by position desc limit p_limit) page;
  elsif p_superseded then
    open v_walk for
      select to_jsonb(page) from (
        select * from agent.item where thread_id = v_thread.id and position > v_above and position < v_below
           order by position limit p_limit) page;
  elsif p_from_above then
    open v_walk for
      select to_jsonb(page) from (
        select * from agent.item where thread_id = v_thread.id and position > v_above and position < v_below
           and superseded_at is null order by position desc limit p_limit) page;
  else
    open v_walk for
      select to_jsonb(page) from (
        select * from agent.item where thread_id = v_thread.id and position > v_above and position < v_below
           and superseded_at is null order by position limit p_limit) page;
  end if;
  perform set_config('role', 'none', true);
  v_items := agent.show_items(to_jsonb(agent.rows_of(v_walk)));
  return jsonb_build_object(
    'items', v_items,
    'has_lower', agent.has_item(v_thread.id, 0, coalesce((v_items -> 0 ->> 'position')::bigint, 0), p_superseded),
    'has_higher', agent.has_item(
      v_thread.id, coalesce((v_items -> -1 ->> 'position')::bigint, 9223372036854775807), 9223372036854775807,
      p_superseded)
  );
end $$;

-- Items as they are shown. They were read as their user.
create function agent.show_items(p_items jsonb) returns jsonb
language sql stable security definer set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object(
           'position', item.position, 'id', item.key, 'kind', item.kind, 'run_id', run.key,
           'created_at', agent.wire_time(item.created_at), 'superseded_at', agent.wire_time(item.superseded_at),
           'data', item.data
         ) order by item.position), '[]')
    from jsonb_to_recordset(p_items) as item
           (position bigint, key text, kind text, run_id uuid, created_at timestamptz, superseded_at timestamptz, data jsonb)
    left join agent.run on run.id = item.run_id
$$;

-- Whether a thread has an item strictly between two positions.
create function agent.has_item(p_thread uuid, p_above bigint, p_below bigint, p_superseded boolean) returns boolean
language plpgsql stable security definer set search_path = '' as $$
begin
  if p_superseded then
    return exists (select from agent.item where thread_id = p_thread and position > p_above and position < p_below);
  end if;
  return exists (select from agent.item where thread_id = p_thread and position > p_above and position < p_below
                    and superseded_at is null);
end $$;

-- What a run ended with, without what tools keep for themselves while their user is asked.
create function agent.without_state(p_data jsonb) returns jsonb
language sql immutable set search_path = '' as $$
  select case when p_data ? 'interrupts' then jsonb_set(p_data, '{interrupts}', (
    select coalesce(jsonb_agg(asked - 'state' order by nth), '[]')
      from jsonb_array_elements(p_data -> 'interrupts') with ordinality as listed (asked, nth)
  )) else p_data end
$$;

-- Runs as they are shown, in this order. They were read as their user.
create function agent.show_runs(p_runs agent.run[]) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce(jsonb_agg(jsonb_build_object(
           'id', (run).id, 'run_id', (run).key, 'status', (run).status, 'attempt', (run).attempt,
           'at', agent.wire_time((run).created_at), 'created_at', agent.wire_time((run).created_at),
           'started_at', agent.wire_time((run).started_at), 'ended_at', agent.wire_time((run).ended_at),
           'usage', (run).ending -> 'usage', 'ending', agent.without_state((run).ending - 'usage')
         ) order by nth), '[]')
    from (select p_runs[nth] as run, nth from generate_subscripts(p_runs, 1) nth) shown
$$;

-- A page of a thread's runs, newest first, behind a place: {at, id}.
create function agent.list_runs(p_claims jsonb, p_client_thread_id text, p_after jsonb, p_limit integer) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_thread agent.thread := agent.own_thread(p_claims, p_client_thread_id, false, null);
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

-- Rows of a run's log behind a sequence number. The run is read as the user; as in `read_events`, its rows go by it.
create function agent.list_events(
  p_claims jsonb, p_client_thread_id text, p_client_run_id text, p_after integer, p_limit integer
) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_thread agent.thread := agent.own_thread(p_claims, p_client_thread_id, false, null);
  v_run uuid;
begin
  perform agent.act_as(p_claims);
  select id into v_run from agent.run where owner = auth.uid() and key = p_client_run_id and thread_id = v_thread.id;
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

-- Search. Each message and title is a document that also has its owner as a word, so that a search walks through what
-- its user wrote and no further. Only functions of Postgres itself are in the index: it is written as the user, who may
-- execute none of ours. What is larger than a tsvector surely holds is not indexed.
create index if not exists item_words on agent.item using gin ((
  case when octet_length(data::text) <= 300000 then
    jsonb_to_tsvector('simple', jsonb_path_query_array(data, '$.content[*] ? (@.type() == "string")')
                                || jsonb_path_query_array(data, '$.content[*].text'), '["string"]')
    || array_to_tsvector(array[owner::text])
  end
)) with (gin_pending_list_limit = 512) where kind = 'message' and superseded_at is null;

create index if not exists thread_words on agent.thread using gin ((
  to_tsvector('simple', title) || array_to_tsvector(array[owner::text])
)) with (gin_pending_list_limit = 512) where title is not null and deleted_at is null;

-- A message's text: its content, or the texts of its parts.
create function agent.text_of(p_data jsonb) returns text
language sql immutable set search_path = '' as $$
  select string_agg(part #>> '{}', ' ') from jsonb_path_query(
    jsonb_path_query_array(p_data, '$.content[*] ? (@.type() == "string")')
      || jsonb_path_query_array(p_data, '$.content[*].text'), '$[*] ? (@.type() == "string")'
  ) part
$$;

create function agent.find_titles(p_owner uuid, p_query tsquery, p_at timestamptz, p_id uuid, p_limit integer)
returns uuid[]
language plpgsql stable security definer set search_path = '' as $$
declare
  v_query tsquery := p_query && quote_literal(p_owner)::tsquery;
begin
  return array(
    select id from agent.thread
     where to_tsvector('simple', title) || array_to_tsvector(array[owner::text]) @@ v_query
       and title is not null and deleted_at is null and owner = p_owner
       and (created_at, id) < (coalesce(p_at, 'infinity'), coalesce(p_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
     order by created_at desc, id desc limit p_limit
  );
end $$;

-- As in `find_threads_with`: a word of many messages is in the newest ones, and one of few is found by the index. The
-- newest are those of a megabyte: to find the words of as much text takes a third of a second.
create function agent.find_messages(p_owner uuid, p_query tsquery, p_below bigint, p_limit integer) returns uuid[]
language plpgsql stable security definer set search_path = '' as $$
declare
  v_query tsquery := p_query && quote_literal(p_owner)::tsquery;
  v_below bigint := coalesce(p_below, 9223372036854775807);
  v_from bigint;
  v_bytes integer;
  v_left integer := 1000000;
  v_found uuid[];
begin
  for v_from, v_bytes in
    -- Nested, so that a sort does not read what the loop leaves out.
    select position, octet_length(data::text) from (
      select position, data from agent.item where owner = p_owner and position < v_below order by position desc limit 500
    ) newest
  loop
    v_left := v_left - v_bytes;
    exit when v_left < 0;
  end loop;
  v_found := array(
    select id from agent.item
     where owner = p_owner and position >= v_from and position < v_below
       and case when octet_length(data::text) <= 300000 then
             jsonb_to_tsvector('simple', jsonb_path_query_array(data, '$.content[*] ? (@.type() == "string")')
                                         || jsonb_path_query_array(data, '$.content[*].text'), '["string"]')
             || array_to_tsvector(array[owner::text])
           end @@ v_query
       and kind = 'message' and superseded_at is null
       and (select deleted_at is null from agent.thread where id = thread_id)
     order by position desc limit p_limit
  );
  if cardinality(v_found) = p_limit then
    return v_found;
  end if;
  return agent.find_rare_messages(p_owner, v_query, v_below, p_limit);
end $$;

-- By the index on words. The planner takes a message's words for nearly free, and a table whose large values are elsewhere
-- for small: it is told what they cost, or it would find the words of every message again.
create function agent.find_rare_messages(p_owner uuid, p_query tsquery, p_below bigint, p_limit integer) returns uuid[]
language plpgsql stable security definer set search_path = '' set cpu_operator_cost = 1 as $$
begin
  return array(
    with found as materialized (
      select id, position, thread_id from agent.item
       where case when octet_length(data::text) <= 300000 then
               jsonb_to_tsvector('simple', jsonb_path_query_array(data, '$.content[*] ? (@.type() == "string")')
                                           || jsonb_path_query_array(data, '$.content[*].text'), '["string"]')
               || array_to_tsvector(array[owner::text])
             end @@ p_query
         and kind = 'message' and superseded_at is null
         and owner = p_owner and position < p_below
    )
    -- Only of those that are shown is it asked whether their thread is there.
    select id from (select * from found order by position desc offset 0) newest
     where (select deleted_at is null from agent.thread where id = thread_id)
     limit p_limit
  );
end $$;

-- What these words ask for. Where Postgres finds too many a "not" in them (32, since Postgres 11), only the words.
create function agent.query_of(p_words text) returns tsquery
language plpgsql immutable set search_path = '' as $$
begin
  return websearch_to_tsquery('simple', p_words);
exception when internal_error then
  return plainto_tsquery('simple', p_words);
end $$;

-- As before, for any words.
create or replace function agent.search_notes(p_claims jsonb, p_query text, p_limit integer) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_query tsquery := agent.query_of(p_query);
begin
  perform agent.act_as(p_claims);
  return (
    select coalesce(jsonb_agg(to_jsonb(hit) - 'rank' order by hit.rank desc, hit.created_at desc), '[]')
      from (select id, text, created_at, ts_rank(words, v_query) as rank
              from agent.note where owner = auth.uid() and words @@ v_query
             order by rank desc, created_at desc limit p_limit) hit
  );
end $$;

-- What a user's words find: titles, then messages, newest first; behind a place: {at, id} of a title, or {position} of a
-- message. A snippet's matches are between U+E000 and U+E001; it is of the first 10,000 characters: the same words
-- again and again cost the square of their number.
create function agent.search_threads(p_claims jsonb, p_words text, p_after jsonb, p_limit integer) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_query tsquery := agent.query_of(p_words);
  v_owner uuid := (p_claims ->> 'sub')::uuid;
  v_titles uuid[] := '{}';
  v_messages uuid[] := '{}';
  v_threads agent.thread[];
  v_items agent.item[];
begin
  if numnode(v_query) > 0 then
    if p_after ->> 'position' is null then
      v_titles := agent.find_titles(
        v_owner, v_query, (p_after ->> 'at')::timestamptz, (p_after ->> 'id')::uuid, p_limit);
    end if;
    v_messages := agent.find_messages(
      v_owner, v_query, (p_after ->> 'position')::bigint, p_limit - cardinality(v_titles));
  end if;
  perform agent.act_as(p_claims);
  select array_agg(item) into v_items from agent.item where id = any (v_messages);
  select array_agg(thread) into v_threads from agent.thread
   where id = any (v_titles || array(select thread_id from unnest(v_items)));
  perform set_config('role', 'none', true);
  return jsonb_build_object(
    'hits', agent.show_hits(v_threads, v_titles, v_items, v_query), 'threads', agent.show_threads(v_threads)
  );
end $$;

-- What was found, as it is shown. It was read as its user.
create function agent.show_hits(p_threads agent.thread[], p_titles uuid[], p_items agent.item[], p_query tsquery)
returns jsonb
language sql stable set search_path = '' as $$
  with hit as (
    select id as thread, id, created_at as at, null::bigint as position, null as item_key, title as words
      from unnest(p_threads) where id = any (p_titles)
    union all
    -- What is found by the words it has not may have none.
    select thread_id, id, created_at, position, key, coalesce(left(agent.text_of(data), 10000), '')
      from unnest(p_items)
  )
  select coalesce(jsonb_agg(jsonb_build_object(
           'thread', thread, 'id', id, 'at', agent.wire_time(at), 'position', position, 'item_id', item_key,
           'snippet', ts_headline(
             'simple', translate(words, U&'\E000\E001', ''), p_query,
             U&'StartSel="\E000",StopSel="\E001",' || case
               -- What is short is shown whole: a fragment ends in no number and no full stop.
               when char_length(words) <= 240 then 'HighlightAll=true'
               else 'MaxWords=30,MinWords=12,ShortWord=0,MaxFragments=2,FragmentDelimiter=" … "'
             end)
         ) order by position desc nulls first, at desc, id desc), '[]')
    from hit
$$;

-- The thread that is about to be exported. Who takes data out leaves a trace before the first byte.
create function agent.export_thread(p_claims jsonb, p_key text, p_request_id text) returns jsonb
language plpgsql set search_path = '' as $$
declare
  v_thread agent.thread := agent.own_thread(p_claims, p_key, false, null);
begin
  perform agent.audit_request(v_thread.owner, 'thread.export', p_key, p_request_id);
  return agent.show_thread(v_thread);
end $$;

create function agent.export_user(p_claims jsonb, p_request_id text) returns void
language sql set search_path = '' as $$
  select agent.audit_request((p_claims ->> 'sub')::uuid, 'user.export', null, p_request_id)
$$;

-- All a user has, kind by kind, a page at a time, each row with the `cursor` to go on behind.
create function agent.export_rows(p_claims jsonb, p_kind text, p_after text, p_limit integer) returns jsonb
language plpgsql stable set search_path = '' set timezone = 'UTC' as $$
declare
  v_walk refcursor;
begin
  perform agent.act_as(p_claims);
  case p_kind
    when 'thread' then
      open v_walk for select to_jsonb(page) from (
        select key as thread_id, title, metadata, created_at, updated_at, archived_at, key as cursor
          from agent.thread where owner = auth.uid() and key > p_after order by key limit p_limit) page;
    when 'run' then
      open v_walk for select to_jsonb(page) from (
        select run.key as run_id, thread.key as thread_id, status, attempt, request, ending, run.created_at, started_at,
               ended_at, run.key as cursor, (
                 select coalesce(jsonb_agg(to_jsonb(turn) - array['run_id', 'owner', 'seq'] order by seq), '[]')
                   from agent.turn_usage turn where run_id = run.id
               ) as turns
          from agent.run join agent.thread on thread.id = run.thread_id
         where run.owner = auth.uid() and run.key > p_after order by run.key limit p_limit) page;
    when 'item' then
      open v_walk for select to_jsonb(page) from (
        select item.key as id, thread.key as thread_id, run.key as run_id, kind, data, item.created_at, superseded_at,
               position as cursor
          from agent.item join agent.thread on thread.id = item.thread_id left join agent.run on run.id = item.run_id
         where item.owner = auth.uid() and position > p_after::bigint order by position limit p_limit) page;
    when 'interrupt' then
      open v_walk for select to_jsonb(page) from (
        select interrupt.id as interrupt_id, thread.key as thread_id, run.key as run_id, reason, message, response_schema,
               expires_at, interrupt.status, payload, resolved_at, interrupt.created_at, interrupt.id as cursor
          from agent.interrupt join agent.thread on thread.id = interrupt.thread_id
               join agent.run on run.id = interrupt.run_id
         where interrupt.owner = auth.uid() and interrupt.id > p_after::uuid order by interrupt.id limit p_limit) page;
    when 'note' then
      open v_walk for select to_jsonb(page) from (
        select id, text, created_at, key as cursor
          from agent.note where owner = auth.uid() and key > p_after order by key limit p_limit) page;
    when 'audit_event' then
      open v_walk for select to_jsonb(page) from (
        select action, outcome, request_id, subject, arguments_hash, created_at, id as cursor
          from agent.audit_event where owner = auth.uid() and id > p_after::bigint order by id limit p_limit) page;
  end case;
  perform set_config('role', 'none', true);
  return (
    select coalesce(jsonb_agg(
             case when jsonb_typeof(shown -> 'ending') = 'object'
               then jsonb_set(shown, '{ending}', agent.without_state(shown -> 'ending')) else shown end order by nth), '[]')
      from unnest(agent.rows_of(v_walk)) with ordinality as page (shown, nth)
  );
end $$;

revoke execute on all functions in schema agent from public, anon, authenticated;
grant execute on all functions in schema agent to agent_api;

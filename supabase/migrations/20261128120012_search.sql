-- Search in titles and messages. Each document contains its owner as a word, so that a search reads only what its
-- user wrote. Only functions of Postgres itself are in the indexes: they are evaluated as the user, who may execute
-- no function of this schema. A text that could exceed the size of a tsvector is not indexed.

create index item_words on agent.item using gin ((
  case when octet_length(data::text) <= 300000 then
    jsonb_to_tsvector('simple', jsonb_path_query_array(data, '$.content[*] ? (@.type() == "string")')
                                || jsonb_path_query_array(data, '$.content[*].text'), '["string"]')
    || array_to_tsvector(array[owner::text])
  end
)) with (gin_pending_list_limit = 512) where kind = 'message' and superseded_at is null;

create index thread_words on agent.thread using gin ((
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

-- A word of many messages is found among the newest, a word of few by the index, as in `find_threads_with`. The
-- newest are those of the last megabyte: extracting the words of that much text takes a third of a second.
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
    -- Nested, so that no sort reads rows that the loop does not reach.
    select position, octet_length(data::text) from (
      select position, data from agent.item
       where owner = p_owner and position < v_below order by position desc limit 500
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

-- By the index on words. The planner assumes that extracting a message's words is nearly free, and that a table whose
-- large values are stored elsewhere is small; without a higher cost it would extract the words of every message.
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
    -- Threads are checked only for the messages of this page.
    select id from (select * from found order by position desc offset 0) newest
     where (select deleted_at is null from agent.thread where id = thread_id)
     limit p_limit
  );
end $$;

-- The query of these words. Where Postgres finds more negations than it can hold (32, since Postgres 11), only the
-- words.
create function agent.to_query(p_words text) returns tsquery
language plpgsql immutable set search_path = '' as $$
begin
  return websearch_to_tsquery('simple', p_words);
exception when internal_error then
  return plainto_tsquery('simple', p_words);
end $$;

-- What a user's words find: titles, then messages, newest first, after a place: {at, id} of a title, or {position} of
-- a message. Matches in a snippet are between U+E000 and U+E001. A snippet is made of the first 10,000 characters,
-- because its cost grows with the square of a repeated word's count.
create function agent.search_threads(p_claims jsonb, p_words text, p_after jsonb, p_limit integer) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  v_query tsquery := agent.to_query(p_words);
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

-- Hits as they are shown. The caller has read them as their user.
create function agent.show_hits(p_threads agent.thread[], p_titles uuid[], p_items agent.item[], p_query tsquery)
returns jsonb
language sql stable set search_path = '' as $$
  with hit as (
    select id as thread, id, created_at as at, null::bigint as position, null as item_key, title as words
      from unnest(p_threads) where id = any (p_titles)
    union all
    -- A query of negations also finds messages without text.
    select thread_id, id, created_at, position, key, coalesce(left(agent.text_of(data), 10000), '')
      from unnest(p_items)
  )
  select coalesce(jsonb_agg(jsonb_build_object(
           'thread', thread, 'id', id, 'at', agent.wire_time(at), 'position', position, 'item_id', item_key,
           'snippet', ts_headline(
             'simple', translate(words, U&'\E000\E001', ''), p_query,
             U&'StartSel="\E000",StopSel="\E001",' || case
               -- A short text is shown whole, because a fragment loses a number or full stop at its end.
               when char_length(words) <= 240 then 'HighlightAll=true'
               else 'MaxWords=30,MinWords=12,ShortWord=0,MaxFragments=2,FragmentDelimiter=" … "'
             end)
         ) order by position desc nulls first, at desc, id desc), '[]')
    from hit
$$;

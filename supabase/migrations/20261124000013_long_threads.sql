-- What a request means for its thread, as before, and at the same cost in a thread of any length: an item is found by its
-- key, a message that is no item of its own (a turn of calls only) among the newest, which are those the model gets too.
-- Its plans do not depend on their parameters, and planning them anew with each call took three quarters of its time.
--
-- The stored history is the truth. A history that ends in a known message rewinds to it; a known user message with
-- other content replaces itself and all behind it; news go behind the tail unless `rewind_to` names their parent.
create or replace function agent.plan_request(
  p_claims jsonb, p_thread uuid, p_request jsonb, out said jsonb, out rewind bigint, out tail text
)
language plpgsql set search_path = '' set plan_cache_mode = 'force_generic_plan' as $$
declare
  v_last record;
  v_behind bigint;
begin
  perform agent.act_as(p_claims);
  with incoming as (
    select message ->> 'key' as key, message, nth
      from jsonb_array_elements(p_request -> 'messages') with ordinality as given (message, nth)
  ), known as (
    select nth, position, kind = 'message' and data ->> 'role' = 'user'
             and data -> 'content' is distinct from message -> 'data' -> 'content' as edited
      from incoming cross join lateral (
        select position, kind, data from agent.item
         where thread_id = p_thread and item.key = incoming.key and superseded_at is null limit 1
      ) found
    union all
    select nth, position, false
      from incoming join (
        select position, data ->> 'message_id' as message_id from agent.item
         where thread_id = p_thread and superseded_at is null
         order by position desc limit 1000
      ) recent on message_id = incoming.key
  )
  select * into v_last from known order by nth desc, position desc limit 1;

  select coalesce(jsonb_agg(message order by nth), '[]') into said
    from jsonb_array_elements(p_request -> 'messages') with ordinality as incoming (message, nth)
   where nth > coalesce(v_last.nth, 0) - coalesce(v_last.edited, false)::integer
     and (message ->> 'kind' = 'message' or message ->> 'kind' = 'tool_result' and exists (
       select from agent.item call
        where call.thread_id = p_thread and call.superseded_at is null and call.kind = 'tool_call'
          and call.key = message -> 'data' ->> 'call_id' and call.data ->> 'executor' = 'client'
          and not exists (
            select from agent.item result
             where result.thread_id = p_thread and result.superseded_at is null and result.kind = 'tool_result'
               and result.data ->> 'call_id' = call.key
          )
     ));

  if p_request ->> 'rewind_to' is not null then
    select max(position) into rewind from agent.item
     where thread_id = p_thread and superseded_at is null
       and p_request ->> 'rewind_to' in (key, data ->> 'message_id');
    if rewind is null then
      raise exception using errcode = 'AF001', message = 'rewind_target_unknown';
    end if;
    if v_last.edited then
      rewind := least(rewind, v_last.position - 1);
    end if;
  elsif v_last.edited then
    rewind := v_last.position - 1;
  elsif said = '[]' then
    rewind := v_last.position;
  end if;

  -- A variable: under row-level security no index takes a condition that calls what might tell of other rows.
  v_behind := coalesce(rewind, 9223372036854775807);
  select case when kind = 'message' then data ->> 'role' else kind end into tail
    from agent.item where thread_id = p_thread and superseded_at is null
     and position <= v_behind
   order by position desc limit 1;
  perform set_config('role', 'none', true);
end $$;

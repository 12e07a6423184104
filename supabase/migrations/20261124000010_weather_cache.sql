-- Two calls that keep the weather of old places deleted each other's: each waited for the row the other had. What somebody
-- else has is left to whoever comes next.
create or replace function agent.keep_weather(p_place text, p_unit text, p_answer jsonb) returns void
language sql security definer set search_path = '' as $$
  insert into agent.weather_cache (place, unit, answer) values (p_place, p_unit, p_answer)
  on conflict (place, unit) do update set answer = excluded.answer, asked_at = now();
  delete from agent.weather_cache where (place, unit) in (
    select place, unit from agent.weather_cache
     where asked_at < now() - interval '1 day' order by asked_at limit 100 for update skip locked
  )
$$;

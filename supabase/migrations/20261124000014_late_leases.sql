-- A sweep looks ahead. A lease whose holder is late, and that outlives the sweep by a moment, would wait for the next sweep
-- before anybody looks at it.

-- The runs whose lease has less than `p_seconds` left, and the seconds until it runs out. Nothing is suspected yet: the
-- first look is at a lease that has run out.
create function agent.late_leases(p_seconds double precision, p_limit integer)
returns table (run_id uuid, due_in double precision)
language sql stable security definer set search_path = '' as $$
  select run_id, extract(epoch from until - now())::double precision from agent.lease
   where token is not null and until > now() and until < now() + make_interval(secs => p_seconds)
   order by until limit p_limit
$$;

revoke execute on function agent.late_leases from public, anon, authenticated;
grant execute on function agent.late_leases to agent_api;

-- A sweep looks ahead. A lease whose holder is late, and which runs out before the next sweep comes, would wait for that
-- sweep and then for a second look: a lease and a sweep were not enough. So a sweep is the first look at leases like
-- that, and whoever swept takes the second when they have run out. A holder that was only late renews before.

-- The runs that wait for somebody to execute them (`due_in` 0, marked as dispatched), as `sweep_runs` has them; and those
-- whose lease has less than `p_late` seconds left, with the seconds until it runs out. A renewal takes the suspicion back.
create function agent.sweep_ahead(p_limit integer, p_late double precision)
returns table (run_id uuid, due_in double precision)
language plpgsql security definer set search_path = '' as $$
begin
  return query select sweep_runs, 0::double precision from agent.sweep_runs(p_limit);
  return query
    update agent.lease set suspected_at = coalesce(suspected_at, clock_timestamp())
     where lease.run_id in (
       select late.run_id from agent.lease late
        where token is not null and until between now() and now() + make_interval(secs => p_late)
        order by until limit p_limit
        for update skip locked
     )
    returning lease.run_id, extract(epoch from until - now())::double precision;
end $$;

revoke execute on function agent.sweep_ahead from public, anon, authenticated;
grant execute on function agent.sweep_ahead to agent_api;

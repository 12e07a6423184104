-- Row-level security. A table without a policy is closed to every role but the owner of the schema.

alter table agent.thread enable row level security;
alter table agent.run enable row level security;
alter table agent.lease enable row level security;
alter table agent.run_secret enable row level security;
alter table agent.run_event enable row level security;
alter table agent.item enable row level security;
alter table agent.interrupt enable row level security;
alter table agent.turn_usage enable row level security;
alter table agent.day_usage enable row level security;
alter table agent.call_slot enable row level security;
alter table agent.audit_event enable row level security;
alter table agent.note enable row level security;
alter table agent.weather_cache enable row level security;
alter table agent.tool_list enable row level security;

-- A deleted thread does not exist for its user, and neither does anything in it.
create policy use_own on agent.thread to authenticated
  using (owner = (select auth.uid()) and deleted_at is null) with check (owner = (select auth.uid()));

create policy read_own on agent.run for select to authenticated using (
  owner = (select auth.uid()) and exists (select from agent.thread where id = thread_id)
);
create policy insert_own on agent.run for insert to authenticated with check (
  owner = (select auth.uid()) and exists (select from agent.thread where id = thread_id)
);

create policy read_own on agent.run_event for select to authenticated using (
  exists (select from agent.run where id = run_id)
);

create policy read_own on agent.item for select to authenticated using (
  owner = (select auth.uid()) and exists (select from agent.thread where id = thread_id)
);
create policy supersede_own on agent.item for update to authenticated
  using (owner = (select auth.uid())) with check (owner = (select auth.uid()));
create policy insert_own on agent.item for insert to authenticated with check (
  owner = (select auth.uid())
  and exists (select from agent.thread where id = thread_id)
  and kind in ('message', 'tool_result')
);

create policy read_own on agent.interrupt for select to authenticated using (
  owner = (select auth.uid()) and exists (select from agent.thread where id = thread_id)
);
create policy resolve_own on agent.interrupt for update to authenticated
  using (owner = (select auth.uid())) with check (owner = (select auth.uid()));

create policy read_own on agent.turn_usage for select to authenticated using (owner = (select auth.uid()));
create policy read_own on agent.day_usage for select to authenticated using (owner = (select auth.uid()));
create policy read_own on agent.audit_event for select to authenticated using (owner = (select auth.uid()));

create policy use_own on agent.note to authenticated
  using (owner = (select auth.uid())) with check (owner = (select auth.uid()));

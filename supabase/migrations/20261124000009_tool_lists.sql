-- What servers said they can do, so that a process that wakes need not wake them before it can ask its model.
create table agent.tool_list (
  server text not null,
  role text not null,
  tools jsonb not null check (jsonb_typeof(tools) = 'array'),
  asked_at timestamptz not null default now(),
  primary key (server, role)
);
alter table agent.tool_list enable row level security;

create function agent.keep_tools(p_server text, p_role text, p_tools jsonb) returns void
language sql security definer set search_path = '' as $$
  insert into agent.tool_list (server, role, tools) values (p_server, p_role, p_tools)
  on conflict (server, role) do update set tools = excluded.tools, asked_at = now()
$$;

-- What was said lately, for these servers.
create function agent.kept_tools(p_servers jsonb) returns table (server text, role text, tools jsonb)
language sql stable security definer set search_path = '' as $$
  select server, role, tools from agent.tool_list
   where server in (select jsonb_array_elements_text(p_servers)) and asked_at > now() - interval '7 days'
$$;

revoke execute on all functions in schema agent from public, anon, authenticated;
grant execute on all functions in schema agent to agent_api;

-- Acting as a user, and the audit.
--
-- Functions that act as a user are `security invoker`: `agent_api` calls them, they become `authenticated` with the
-- verified claims, so that row-level security decides, and they step back to the login before they call a function
-- that only the login may execute. Errors that a caller can correct have SQLSTATE AF001 and a stable code as their
-- message.

-- Become the user of these claims until the transaction ends. Returns the user's id.
create function agent.act_as(p_claims jsonb) returns uuid
language plpgsql set search_path = '' as $$
declare
  v_unused text;
  v_user uuid;
begin
  -- Assignments, because `perform` would execute a statement for each.
  v_unused := set_config('role', 'authenticated', true);
  v_unused := set_config('request.jwt.claims', p_claims::text, true);
  -- auth.uid() and auth.jwt() read these legacy settings first, so a left-over value would win.
  v_unused := set_config('request.jwt.claim', '', true);
  v_unused := set_config('request.jwt.claim.sub', '', true);
  v_user := auth.uid();
  if v_user is null then
    raise exception using errcode = 'AF001', message = 'unauthorized';
  end if;
  return v_user;
end $$;

create function agent.audit(
  p_owner uuid, p_action text, p_outcome text, p_run uuid, p_subject text, p_request_id text
) returns void
language sql security definer set search_path = '' as $$
  insert into agent.audit_event (owner, action, outcome, run_id, subject, request_id)
  values (p_owner, p_action, p_outcome, p_run, p_subject, p_request_id)
$$;

-- An app with objects of each kind, and rows.
create table public.orders (
  id bigint generated always as identity primary key,
  owner uuid not null references auth.users (id) on delete cascade,
  note text check (length(note) < 100)
);
alter table public.orders enable row level security;
create policy own on public.orders to authenticated using (owner = (select auth.uid()));
grant select, insert on public.orders to authenticated;
create index orders_owner on public.orders (owner);
create schema private;
create type private.state as enum ('open', 'closed');
create function private.touch() returns trigger language plpgsql set search_path = '' as $$
begin
  new.note := coalesce(new.note, 'none');
  return new;
end $$;
create trigger touch before insert on public.orders for each row execute function private.touch();
create view public.my_orders with (security_invoker = true) as select id, note from public.orders;
alter default privileges in schema public grant select on tables to anon;
insert into auth.users (id) values ('00000000-0000-4000-8000-000000000001');
insert into public.orders (owner) values ('00000000-0000-4000-8000-000000000001');

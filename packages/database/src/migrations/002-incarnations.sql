-- The whole incarnation in one value: it is only ever read and written whole.
alter table applied add incarnation jsonb;
update applied set incarnation = jsonb_build_object(
  'number', incarnation_number, 'id', incarnation_id, 'parent', incarnation_parent,
  'baseRevision', base_revision, 'baseEpoch', 0, 'ancestors', '[]'::jsonb, 'by', null,
  'disasterAt', null);
alter table applied
  alter incarnation set not null,
  drop incarnation_number,
  drop incarnation_id,
  drop incarnation_parent,
  drop base_revision,
  -- Whether the replica has once held everything the log held when it began.
  add is_filled boolean not null default true;
alter table applied alter is_filled drop default;

-- The log servers this node follows now.
create table log_layout (
  only_row boolean primary key default true check (only_row),
  layout jsonb not null
);

-- While the log moves on purpose nothing closes the circuit.
alter table circuit add held_until timestamptz;

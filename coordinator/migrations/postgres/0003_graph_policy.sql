-- The policy that a workflow's document gives all its nodes; without one, nothing.
ALTER TABLE graph ADD COLUMN policy BYTEA;

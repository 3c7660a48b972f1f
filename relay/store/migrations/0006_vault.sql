-- What came while the vault was locked and waits to be checked; empty nearly always, so it costs nothing.
CREATE INDEX events_locked ON events(id) WHERE reason = 'vault_locked' AND outcome <> 'rejected';

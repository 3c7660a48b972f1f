-- recovered: fetched from the provider's API rather than received. sent_at: when the provider says it sent or made it.
ALTER TABLE events ADD COLUMN recovered INTEGER NOT NULL DEFAULT 0;
ALTER TABLE events ADD COLUMN sent_at INTEGER;
CREATE INDEX events_recovered ON events(id) WHERE recovered = 1;

-- What the rules of its source have against an event: JSON, [] for nearly all of them.
ALTER TABLE event_bytes ADD COLUMN problems TEXT NOT NULL DEFAULT '[]';

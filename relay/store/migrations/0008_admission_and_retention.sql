-- What the rules of its source have against an event: JSON, [] for nearly all of them.
ALTER TABLE event_bytes ADD COLUMN problems TEXT NOT NULL DEFAULT '[]';

-- The highest event that retention removed for its age, for the number of events, for their size.
INSERT INTO counters VALUES ('removed_age', 0), ('removed_events', 0), ('removed_size', 0);

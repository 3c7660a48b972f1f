-- A request may hold several events. `types` is a JSON list of their distinct types where there is more than one;
-- without it `type` is the only one. `batch` is JSON: where they are in the body, and which of the types each has.
ALTER TABLE events ADD COLUMN types TEXT;
ALTER TABLE events ADD COLUMN item_count INTEGER NOT NULL DEFAULT 1;
ALTER TABLE event_bytes ADD COLUMN batch TEXT NOT NULL DEFAULT '';

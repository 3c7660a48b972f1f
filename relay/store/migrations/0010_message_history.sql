-- Every status a message was ever told, in the order received; where a message stands follows from them alone.
-- message_id is NULL for a status of a message that nobody has registered yet: it waits to be found.
CREATE TABLE history (
  id          INTEGER PRIMARY KEY,
  message_id  INTEGER REFERENCES messages(id) ON DELETE CASCADE,
  event_id    INTEGER REFERENCES events(id) ON DELETE SET NULL,   -- NULL: relay or the app said so itself
  status      TEXT    NOT NULL,
  at          INTEGER,                       -- the provider's own time, microseconds since 1970; NULL: it tells none
  received_at INTEGER NOT NULL,
  code        TEXT    NOT NULL DEFAULT '',
  detail      TEXT    NOT NULL DEFAULT '',
  way         TEXT    NOT NULL DEFAULT '',   -- how the message was found
  provider    TEXT    NOT NULL DEFAULT '',   -- who told it, and
  external_id TEXT    NOT NULL DEFAULT '',   -- of which message, by its id there
  ways        TEXT    NOT NULL DEFAULT '',   -- how its source was told to find messages when it came, and
  window      INTEGER NOT NULL DEFAULT 0     -- how far off in time, microseconds either side
);
-- A status told again is the same status; without a time of the provider's there is one of each. What relay or the
-- app said itself stands beside what the provider says.
CREATE UNIQUE INDEX history_once ON history(message_id, status, coalesce(at, -1), code)
  WHERE message_id IS NOT NULL AND way <> '';
CREATE INDEX history_message ON history(message_id, id) WHERE message_id IS NOT NULL;
CREATE UNIQUE INDEX history_waiting ON history(provider, external_id, status, coalesce(at, -1), code)
  WHERE message_id IS NULL AND external_id <> '';
CREATE INDEX history_unmatched ON history(id) WHERE message_id IS NULL;
CREATE INDEX history_event ON history(event_id) WHERE event_id IS NOT NULL;
CREATE INDEX history_external ON history(external_id, provider) WHERE external_id <> '';

-- What a waiting status may be found by, for each of its ways.
CREATE TABLE waiting_keys (
  way        TEXT    NOT NULL,
  key        TEXT    NOT NULL,               -- an id, or a recipient for `timestamp`
  history_id INTEGER NOT NULL REFERENCES history(id) ON DELETE CASCADE,
  PRIMARY KEY (way, key, history_id)
) WITHOUT ROWID;
CREATE INDEX waiting_keys_history ON waiting_keys(history_id);

-- The ids of messages at their providers: way `external_id` was registered, the others were learned when a
-- status found its message in that way.
CREATE TABLE external_ids (
  external_id TEXT    NOT NULL,
  provider    TEXT    NOT NULL,
  way         TEXT    NOT NULL,
  message_id  INTEGER NOT NULL REFERENCES messages(id) ON DELETE CASCADE,
  PRIMARY KEY (external_id, provider, way)
) WITHOUT ROWID;
CREATE INDEX external_ids_message ON external_ids(message_id);

CREATE TABLE recipients (
  address    TEXT    NOT NULL,               -- lower-case, without display name; a phone number as its digits
  message_id INTEGER NOT NULL REFERENCES messages(id) ON DELETE CASCADE,
  PRIMARY KEY (address, message_id)
) WITHOUT ROWID;
CREATE INDEX recipients_message ON recipients(message_id);

ALTER TABLE messages ADD COLUMN embedded_id TEXT NOT NULL DEFAULT '';
ALTER TABLE messages ADD COLUMN sent_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN code TEXT NOT NULL DEFAULT '';
ALTER TABLE messages ADD COLUMN opened INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN clicked INTEGER NOT NULL DEFAULT 0;
UPDATE messages SET sent_at = created_at;
DROP INDEX messages_external;
CREATE INDEX messages_embedded ON messages(embedded_id) WHERE embedded_id <> '';
CREATE INDEX messages_sent ON messages(sent_at, channel, status, opened, clicked);
CREATE INDEX messages_status ON messages(status, channel, provider);

INSERT INTO history (message_id, status, received_at, detail) SELECT id, status, created_at, detail FROM messages;
INSERT OR IGNORE INTO external_ids (external_id, provider, way, message_id)
  SELECT trim(external_id, '<>'), provider, 'external_id', id FROM messages WHERE external_id <> '' ORDER BY id;
INSERT OR IGNORE INTO recipients (address, message_id)
  WITH RECURSIVE parts (id, address, rest) AS (
    SELECT id, '', recipient || ',' FROM messages
    UNION ALL
    SELECT id, trim(substr(rest, 1, instr(rest, ',') - 1)), substr(rest, instr(rest, ',') + 1) FROM parts WHERE rest <> ''
  )
  SELECT lower(address), id FROM parts WHERE address <> '';

-- A deleted event takes along what it told of messages that nobody registered.
CREATE TRIGGER events_forget_waiting BEFORE DELETE ON events BEGIN
  DELETE FROM history WHERE event_id = old.id AND message_id IS NULL;
END;

-- Narrow rows for lists; exact bytes in a table beside them, so that paging never drags bodies along.
CREATE TABLE events (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  received_at     INTEGER NOT NULL,          -- microseconds since 1970, UTC
  source          TEXT    NOT NULL,
  provider        TEXT    NOT NULL,
  type            TEXT    NOT NULL,
  idempotency_key TEXT,
  outcome         TEXT    NOT NULL,
  verdict         TEXT    NOT NULL,
  reason          TEXT    NOT NULL,
  method          TEXT    NOT NULL,
  path            BLOB    NOT NULL,
  query           BLOB    NOT NULL,
  content_type    TEXT    NOT NULL,
  size            INTEGER NOT NULL,
  sha256          BLOB    NOT NULL,
  remote          TEXT    NOT NULL,
  status          INTEGER NOT NULL,
  duplicate_of    INTEGER,
  pinned          INTEGER NOT NULL DEFAULT 0,
  note            TEXT    NOT NULL DEFAULT '',
  sample          INTEGER NOT NULL DEFAULT 0,
  summary         TEXT    NOT NULL DEFAULT ''
);
CREATE INDEX events_rejected ON events(id) WHERE outcome = 'rejected';
CREATE INDEX events_pinned ON events(id) WHERE pinned = 1;
CREATE INDEX events_source ON events(source, id);

CREATE TABLE event_bytes (
  event_id INTEGER PRIMARY KEY REFERENCES events(id) ON DELETE CASCADE,
  url      BLOB NOT NULL,
  headers  BLOB NOT NULL,                    -- name:value, one a line, as received
  body     BLOB NOT NULL,
  checks   TEXT NOT NULL                     -- JSON: how the signature was checked
);

-- A key is claimed once for each source; whoever comes later is a duplicate of that event.
CREATE TABLE keys (
  source   TEXT    NOT NULL,
  key      TEXT    NOT NULL,
  event_id INTEGER NOT NULL,
  PRIMARY KEY (source, key)
) WITHOUT ROWID;

CREATE TABLE deliveries (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  event_id   INTEGER NOT NULL REFERENCES events(id) ON DELETE CASCADE,
  source     TEXT    NOT NULL,
  target     TEXT    NOT NULL,
  action     TEXT    NOT NULL,
  reason     TEXT    NOT NULL,
  changes    TEXT    NOT NULL,               -- JSON; {} when nothing differs
  state      TEXT    NOT NULL,
  created_at INTEGER NOT NULL,
  due_at     INTEGER NOT NULL,
  attempts   INTEGER NOT NULL DEFAULT 0,
  detail     TEXT    NOT NULL DEFAULT '',
  status     INTEGER,
  took       REAL
);
CREATE INDEX deliveries_event ON deliveries(event_id);
CREATE INDEX deliveries_due ON deliveries(due_at) WHERE state = 'pending';
CREATE INDEX deliveries_pending ON deliveries(target, source, id) WHERE state = 'pending';
CREATE INDEX deliveries_running ON deliveries(target, source, id) WHERE state = 'running';
CREATE INDEX deliveries_state ON deliveries(state, id);

CREATE TABLE attempts (
  delivery_id INTEGER NOT NULL REFERENCES deliveries(id) ON DELETE CASCADE,
  number      INTEGER NOT NULL,
  started_at  INTEGER NOT NULL,
  took        REAL    NOT NULL,
  outcome     TEXT    NOT NULL,
  detail      TEXT    NOT NULL,
  request     TEXT,                          -- JSON: method, url, headers, notes
  sent_body   BLOB,                          -- only where it differs from the event's
  response    TEXT,                          -- JSON: status, headers, cut
  got_body    BLOB,
  PRIMARY KEY (delivery_id, number)
) WITHOUT ROWID;

CREATE TABLE messages (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  channel     TEXT    NOT NULL,
  provider    TEXT    NOT NULL,
  external_id TEXT    NOT NULL,
  recipient   TEXT    NOT NULL,
  subject     TEXT    NOT NULL,
  status      TEXT    NOT NULL,
  detail      TEXT    NOT NULL DEFAULT '',
  created_at  INTEGER NOT NULL,
  event_id    INTEGER REFERENCES events(id) ON DELETE SET NULL,
  delivery_id INTEGER REFERENCES deliveries(id) ON DELETE SET NULL,
  source      BLOB    NOT NULL DEFAULT x''
);
CREATE INDEX messages_event ON messages(event_id);
CREATE INDEX messages_delivery ON messages(delivery_id);
CREATE INDEX messages_external ON messages(external_id);

-- Kept counts: a page never counts a million rows. What comes in is counted a batch at a time.
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('events', 0), ('rejected', 0), ('indexed_to', 0);
CREATE TRIGGER events_uncounted AFTER DELETE ON events BEGIN
  UPDATE counters SET value = value - 1 WHERE name = 'events';
  UPDATE counters SET value = value - 1 WHERE name = 'rejected' AND old.outcome = 'rejected';
END;

-- A deleted event lets its key go.
CREATE TRIGGER events_release_key AFTER DELETE ON events WHEN old.idempotency_key IS NOT NULL BEGIN
  DELETE FROM keys WHERE source = old.source AND key = old.idempotency_key AND event_id = old.id;
END;

-- Words of headers and bodies. Filled in batches behind the commit; keeps no text of its own.
CREATE VIRTUAL TABLE words USING fts5(text, content = '', tokenize = 'unicode61', detail = none);

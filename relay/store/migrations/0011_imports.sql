-- What came from a file is known by its digest, so that a file imported twice brings nothing twice.
CREATE TABLE imports (
  digest   BLOB    PRIMARY KEY,
  event_id INTEGER NOT NULL REFERENCES events(id) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX imports_event ON imports(event_id);

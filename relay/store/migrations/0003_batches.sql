-- A bulk replay: what was asked for, and how far it is. Its steps become deliveries a few at a time, so that
-- what comes in meanwhile never waits behind ten thousand replays.
CREATE TABLE batches (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  created_at      INTEGER NOT NULL,
  finished_at     INTEGER,
  query           TEXT    NOT NULL,
  target          TEXT,                      -- NULL: where the routes of each event lead
  sign            TEXT    NOT NULL,
  rate            REAL,                      -- deliveries a second; NULL: as fast as targets take them
  stop_on_failure INTEGER NOT NULL,
  state           TEXT    NOT NULL,          -- running, done, cancelled, stopped
  detail          TEXT    NOT NULL DEFAULT '',
  total           INTEGER NOT NULL,
  made            INTEGER NOT NULL DEFAULT 0 -- steps that have become deliveries
);
CREATE INDEX batches_running ON batches(id) WHERE state = 'running';

CREATE TABLE batch_steps (
  batch_id INTEGER NOT NULL REFERENCES batches(id) ON DELETE CASCADE,
  place    INTEGER NOT NULL,                 -- from 0
  event_id INTEGER NOT NULL,
  target   TEXT    NOT NULL,
  PRIMARY KEY (batch_id, place)
) WITHOUT ROWID;

-- batch: what a bulk replay made. asked: somebody waits to see it tried, even while its target is down.
-- spared: attempts that the budget of its policy is not charged for.
ALTER TABLE deliveries ADD COLUMN batch INTEGER REFERENCES batches(id) ON DELETE SET NULL;
ALTER TABLE deliveries ADD COLUMN asked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN spared INTEGER NOT NULL DEFAULT 0;
CREATE INDEX deliveries_batch ON deliveries(batch, state) WHERE batch IS NOT NULL;
DROP INDEX deliveries_asked;
CREATE INDEX deliveries_asked ON deliveries(target, due_at, id) WHERE state = 'pending' AND asked = 1;

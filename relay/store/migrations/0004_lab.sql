-- The delivery lab: runs of experiments, and every single send of theirs with what came of it. Kept apart from
-- deliveries and attempts, so that a report stays when its events are gone.
CREATE TABLE lab_runs (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  created_at  INTEGER NOT NULL,
  finished_at INTEGER,
  query       TEXT    NOT NULL,              -- '' where events were named
  events      TEXT    NOT NULL,              -- JSON: their ids, oldest first
  target      TEXT    NOT NULL,
  settings    TEXT    NOT NULL,              -- JSON: times, seed, delay, speed, compare
  trials      TEXT    NOT NULL,              -- JSON: each experiment as planned
  notes       TEXT    NOT NULL,              -- JSON: what is true of all of them
  state       TEXT    NOT NULL,              -- waiting, running, done, cancelled, interrupted
  ended       INTEGER NOT NULL DEFAULT 0,    -- trials that are over
  detail      TEXT    NOT NULL DEFAULT ''
);
CREATE INDEX lab_runs_open ON lab_runs(id) WHERE state IN ('waiting', 'running');

CREATE TABLE lab_sends (
  run_id      INTEGER NOT NULL REFERENCES lab_runs(id) ON DELETE CASCADE,
  place       INTEGER NOT NULL,              -- from 1
  trial       INTEGER NOT NULL,
  round       INTEGER NOT NULL,
  role        TEXT    NOT NULL,
  label       TEXT    NOT NULL,
  event_id    INTEGER NOT NULL,
  delivery_id INTEGER,
  attempt     INTEGER NOT NULL,
  started_at  INTEGER,
  took        REAL,
  status      INTEGER,
  detail      TEXT    NOT NULL DEFAULT '',
  answer      TEXT    NOT NULL DEFAULT '',   -- a digest of the whole body
  said        TEXT    NOT NULL DEFAULT '',   -- its start
  good        INTEGER,                       -- NULL: not over
  note        TEXT    NOT NULL DEFAULT '',
  PRIMARY KEY (run_id, place)
) WITHOUT ROWID;

ALTER TABLE deliveries ADD COLUMN lab INTEGER REFERENCES lab_runs(id) ON DELETE SET NULL;
CREATE INDEX deliveries_lab ON deliveries(lab) WHERE lab IS NOT NULL;

-- What happened, counted by the minute in the transaction in which it happened. Minute 0 holds what is older than a
-- week, so that totals only ever grow.
--   kind event:   name = verdict, result = outcome, reason = its code
--   kind attempt: name = target, result = succeeded, retry or failed, reason = first or again, bucket = its duration
--   kind took:    bucket = the time from a request's arrival until its sender was answered
CREATE TABLE tallies (
  minute INTEGER NOT NULL,                   -- since 1970
  kind   TEXT    NOT NULL,
  source TEXT    NOT NULL,
  name   TEXT    NOT NULL,
  result TEXT    NOT NULL,
  reason TEXT    NOT NULL,
  bucket INTEGER NOT NULL,                   -- place in the list of bounds; 0 where nothing was timed
  count  INTEGER NOT NULL,
  took   REAL    NOT NULL,                   -- seconds in all
  PRIMARY KEY (minute, kind, source, name, result, reason, bucket)
) WITHOUT ROWID;

-- What was there before relay counted: as far back as the charts look.
INSERT INTO tallies
  SELECT received_at / 60000000, 'event', source, verdict, outcome, reason, 0, COUNT(*), 0 FROM events GROUP BY 1, 3, 4, 5, 6;

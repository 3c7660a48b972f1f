-- Keys are mostly random, and each would write a page of `keys`. So they are appended here, and sorted in behind the commits.
CREATE TABLE new_keys (event_id INTEGER PRIMARY KEY, source TEXT NOT NULL, key TEXT NOT NULL);
CREATE TRIGGER events_release_new_key AFTER DELETE ON events WHEN old.idempotency_key IS NOT NULL BEGIN
  DELETE FROM new_keys WHERE event_id = old.id;
END;

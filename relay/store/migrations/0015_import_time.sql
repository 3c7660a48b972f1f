-- When an event came from a file, in microseconds since 1970: retention counts its age from then. 0: not written down.
ALTER TABLE imports ADD COLUMN at INTEGER NOT NULL DEFAULT 0;

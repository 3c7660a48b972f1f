-- The words of decoded bodies, queries and paths are indexed from now on: which events are (`indexed_from` to
-- `indexed_to`, newest first), and in which way (`indexed_as`, 0 as before). The indexer sees the difference.
INSERT OR IGNORE INTO counters VALUES ('indexed_from', 1), ('indexed_as', 0);

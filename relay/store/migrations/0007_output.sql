-- What a run of the user's own code printed and logged, and where it failed; JSON: text, cut, traceback.
ALTER TABLE attempts ADD COLUMN output TEXT;

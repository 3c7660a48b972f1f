"""The room web/: the HTTP edge: thin, no SQL, no policy."""

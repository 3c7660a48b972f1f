"""The replay dialog and the page of bulk replays."""

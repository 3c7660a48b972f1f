"""The room delivery/: claim, run, settle, write down: how what is owed gets out."""

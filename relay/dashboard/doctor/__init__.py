"""The page that shows what `relay doctor` checks."""

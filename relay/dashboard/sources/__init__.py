"""The page of sources: their rules, setup, catch-up and samples."""

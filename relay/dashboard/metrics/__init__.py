"""The page of counts and charts."""

"""Everything relay needs, tried once, each failure with what mends it: for the command line and the dashboard."""

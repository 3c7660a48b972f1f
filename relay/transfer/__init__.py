"""Export and import: events as JSON lines, HAR, curl, HTTP or pytest, and back again.

It converts events to text and back. It sends nothing, and omits credentials by default.
"""

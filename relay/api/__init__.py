"""The JSON API: one file for each resource, with the shapes of what it takes and answers, and its calls.

It calls the services and renders no HTML.
"""

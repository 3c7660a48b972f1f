"""The JSON API: one file for each resource.

It calls the services and renders no HTML.
"""

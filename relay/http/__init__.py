"""What dashboard and API share: the guard (token, Host, Origin), the app context, responses and listening sockets.

It knows no page and no resource.
"""

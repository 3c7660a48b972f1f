"""A Django project in one file that receives webhooks by itself: `python app.py runserver 8000`."""

import os
import secrets
import sys
from pathlib import Path

from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from relay.frameworks.django import urls

settings.configure(
    SECRET_KEY=os.environ.get("DJANGO_SECRET_KEY") or secrets.token_urlsafe(),
    ALLOWED_HOSTS=os.environ.get("ALLOWED_HOSTS", "127.0.0.1 localhost").split(),
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",  # webhooks are free of it: their signature is checked
    ],
)


def shop(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("the shop is open\n", content_type="text/plain")


urlpatterns = [path("", shop), path("", include(urls(Path(__file__).with_name("relay.toml"))))]

application = get_wsgi_application()  # for a WSGI server: `gunicorn app`

if __name__ == "__main__":
    execute_from_command_line(sys.argv)

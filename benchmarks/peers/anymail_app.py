"""A service in Django that sends with django-anymail, as its documentation shows it, with kept connections.

gunicorn runs it: ``gunicorn --chdir benchmarks/peers anymail_app:application``. PROVIDER is the provider's URL, CONTACTS the
file of contacts. It answers when the provider has the mail, stores nothing and tries nothing twice.
"""

import csv
import json
import os
import threading
from pathlib import Path

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.mail import EmailMultiAlternatives, get_connection
from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

settings.configure(
    ALLOWED_HOSTS=["*"],
    ANYMAIL={"SENDGRID_API_KEY": "SG.bench", "SENDGRID_API_URL": f"{os.environ['PROVIDER']}/v3/"},
    EMAIL_BACKEND="anymail.backends.sendgrid.EmailBackend",
    INSTALLED_APPS=["anymail"],
    MIDDLEWARE=[
        "django.middleware.common.CommonMiddleware"
    ],  # It announces the length, so that connections are kept.
    ROOT_URLCONF=__name__,
    SECRET_KEY="bench",
    LOGGING_CONFIG=None,
)
django.setup()

with Path(os.environ["CONTACTS"]).open(newline="") as file:
    contacts = {row["ext_user_id"]: row["email"] for row in csv.DictReader(file)}
thread_data = threading.local()


@csrf_exempt
def email(request: HttpRequest) -> JsonResponse:
    fields = json.loads(request.body)
    if request.headers["Authorization"] != "letmein":
        return JsonResponse({"error_code": 1})
    # A backend may be used by one thread only; while it is open it keeps its connection.
    if not hasattr(thread_data, "backend"):
        thread_data.backend = get_connection()
        thread_data.backend.open()
    mail = EmailMultiAlternatives(
        fields["subject"],
        fields["text_body"],
        fields["from_email_address"],
        [contacts[fields["ext_user_id"]]],
        connection=thread_data.backend,
    )
    mail.attach_alternative(fields["body"], "text/html")
    mail.send()
    return JsonResponse({"error_code": 0}, json_dumps_params={"separators": (",", ":")})


urlpatterns = [path("email", email)]
application = WSGIHandler()

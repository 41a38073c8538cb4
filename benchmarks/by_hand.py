"""The yardstick of *the whole way*: a hand-written service with FastAPI and the vendor's SDK in threads.

``python benchmarks/by_hand.py PORT CONTACTS CERTIFICATE PROVIDER_URL PUBLIC_KEY`` accepts mails, looks up the
contact, sends, calls Smartico back, accepts signed reports, and calls back again. It stores nothing: what waits
for a thread is lost when the process ends, and what fails is not tried again.
"""

import csv
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import requests
import uvicorn
from fastapi import FastAPI, Header, Request, Response
from pydantic import BaseModel
from sendgrid import SendGridAPIClient
from sendgrid.helpers.eventwebhook import EventWebhook, EventWebhookHeader
from sendgrid.helpers.mail import CustomArg, From, Mail, Subject, To

PORT, CONTACTS, CERTIFICATE, PROVIDER, PUBLIC_KEY = sys.argv[1:]
THREADS = 32

with Path(CONTACTS).open(newline="") as file:
    contacts = {row["ext_user_id"]: row["email"] for row in csv.DictReader(file)}
vendor = SendGridAPIClient("SG.bench", host=PROVIDER)
webhook = EventWebhook(PUBLIC_KEY)
callbacks: dict[str, str] = {}
threads = ThreadPoolExecutor(THREADS)
thread_data = threading.local()
app = FastAPI()


class Body(BaseModel):
    """The body of Smartico's request."""

    ext_user_id: str
    from_email_address: str
    subject: str
    body: str
    email_uid: str
    callback_url: str
    text_body: str | None = None


@app.post("/email")
async def email(body: Body, authorization: Annotated[str, Header()]) -> dict[str, object]:
    if authorization != "letmein":
        return {"error_code": 1}
    recipient = contacts.get(body.ext_user_id)
    if recipient is None:
        return {"error_code": 8}
    message_id = str(uuid4())
    callbacks[message_id] = body.callback_url
    threads.submit(send, message_id, recipient, body)
    return {"error_code": 0, "ext_message_id": message_id}


def send(message_id: str, recipient: str, body: Body) -> None:
    name, _, address = body.from_email_address.rstrip(">").rpartition(" <")
    mail = Mail(From(address, name), To(recipient), Subject(body.subject), body.text_body, body.body)
    mail.add_custom_arg(CustomArg("message_id", message_id))
    if vendor.send(mail).status_code == 202:
        call_back(message_id, "accepted")


def call_back(message_id: str, status: str) -> None:
    # A session of requests may be used by one thread only; it keeps its connection open.
    if not hasattr(thread_data, "session"):
        thread_data.session = requests.Session()
    query = {"type": "email", "ext_message_id": message_id, "status": status, "api_key": "key"}
    thread_data.session.get(callbacks[message_id], params=query, timeout=10)


@app.post("/webhooks/out")
async def report(request: Request) -> Response:
    body = (await request.body()).decode()
    headers = request.headers
    signature, timestamp = headers[EventWebhookHeader.SIGNATURE], headers[EventWebhookHeader.TIMESTAMP]
    if not webhook.verify_signature(body, signature, timestamp):
        return Response(status_code=403)
    for event in await request.json():
        if event["event"] == "delivered":
            threads.submit(call_back, event["message_id"], "delivered")
    return Response()


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(PORT),
        ssl_certfile=CERTIFICATE,
        http="httptools",
        loop="uvloop",
        access_log=False,
        log_level="warning",
    )

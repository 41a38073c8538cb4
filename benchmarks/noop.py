"""The yardstick of *accept*: a Litestar handler that parses the same body and does nothing."""

import sys

import msgspec
import uvicorn
from litestar import Litestar, post


class Body(msgspec.Struct):
    """The fields that the gateway's decoder reads."""

    ext_user_id: str
    from_email_address: str
    subject: str
    body: str
    email_uid: str
    reply_to_email_address: str | None = None
    text_body: str | None = None
    callback_url: str | None = None
    activity_type: str | None = None
    to_email_address: str | None = None


class Answer(msgspec.Struct):
    """The gateway's answer."""

    error_code: int
    ext_message_id: str


@post("/email", status_code=200)
async def email(data: Body) -> Answer:  # noqa: ARG001  only parsed
    return Answer(0, "01a2074f-41f9-705c-b1f0-f8d70d509539")


app = Litestar([email], openapi_config=None, logging_config=None)

if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(sys.argv[1]),
        http="httptools",
        loop="uvloop",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
    )

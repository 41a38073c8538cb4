"""The bodies of the three requests that send, with every field that Infobip's OpenAPI document (3.210.0) has for them.

A text message's binary content, and the contents of Viber and the parts of WhatsApp's templates that Gatepost does not
use, are left out.
"""

from gatepost_infobip.testing.schema import Rule, fields, flag, list_of, number, one_of, text

_NUMBER = r"[1-9][0-9]{6,14}"
_URL = text(longest=2048, pattern=r"https?://\S+")
_DAYS = one_of("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
_TIME = fields({"hour": number(0, 23), "minute": number(0, 59)})
_DATE = text(pattern=r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?([+-]\d\d:?\d\d|Z)")
_VALIDITY = fields({"amount": number(1)}, {"timeUnit": one_of("SECONDS", "MINUTES", "HOURS")})
_PLATFORM = fields({}, {"entityId": text(longest=255), "applicationId": text(longest=255)})
_REGIONAL = fields(
    {},
    {
        "indiaDlt": fields(
            {"principalEntityId": text()}, {"contentTemplateId": text(), "telemarketerId": text()}
        ),
        "turkeyIys": fields({"recipientType": one_of("BIREYSEL", "TACIR")}, {"brandCode": number()}),
        "southKorea": fields({}, {"title": text(longest=66), "resellerCode": number()}),
    },
)
_TRACKING = fields(
    {},
    {
        "shortenUrl": flag,
        "trackClicks": flag,
        "trackingUrl": _URL,
        "removeProtocol": flag,
        "customDomain": text(),
    },
)
_SCHEDULE = fields(
    {},
    {
        "bulkId": text(longest=100),
        "sendAt": _DATE,
        "sendingSpeedLimit": fields({"amount": number()}, {"timeUnit": one_of("MINUTE", "HOUR", "DAY")}),
    },
)
_MESSAGE_OPTIONS = {
    "platform": _PLATFORM,
    "validityPeriod": _VALIDITY,
    "deliveryTimeWindow": fields({"days": list_of(_DAYS, fewest=1)}, {"from": _TIME, "to": _TIME}),
    "campaignReferenceId": text(longest=255),
}
_DELIVERY = {"url": _URL, "intermediateReport": flag, "notify": flag}
_WEBHOOKS = {
    "contentType": one_of("application/json", "application/xml"),
    "callbackData": text(longest=4000),
}
_DESTINATION = {"to": text(7, 64, pattern=_NUMBER)}
_MESSAGE_ID = {"messageId": text(longest=200)}
_SMS_SENDER = text(1, 15, pattern=r"[0-9]{1,15}|[ -~]{1,11}")

_SMS = fields(
    {
        "messages": list_of(
            fields(
                {
                    "destinations": list_of(
                        fields(_DESTINATION, {**_MESSAGE_ID, "networkId": number()}), fewest=1
                    ),
                    "content": fields(
                        {"text": text(1)},
                        {
                            "transliteration": one_of(
                                *("NONE", "TURKISH", "GREEK", "CYRILLIC", "SERBIAN_CYRILLIC", "ALL"),
                                *("CENTRAL_EUROPEAN", "BALTIC", "NON_UNICODE", "PORTUGUESE", "COLOMBIAN"),
                                "BULGARIAN_CYRILLIC",
                            ),
                            "language": fields(
                                {},
                                {
                                    "languageCode": one_of("NONE", "TR", "ES", "PT", "AUTODETECT"),
                                    "singleShift": flag,
                                    "lockingShift": flag,
                                },
                            ),
                        },
                    ),
                },
                {
                    "sender": _SMS_SENDER,
                    "options": fields({}, {**_MESSAGE_OPTIONS, "regional": _REGIONAL, "flash": flag}),
                    "webhooks": fields({}, {**_WEBHOOKS, "delivery": fields({}, _DELIVERY)}),
                },
            ),
            fewest=1,
        )
    },
    {
        "options": fields(
            {},
            {
                "schedule": _SCHEDULE,
                "tracking": _TRACKING,
                "includeSmsCountInResponse": flag,
                "conversionTracking": fields(
                    {}, {"useConversionTracking": flag, "conversionTrackingName": text()}
                ),
            },
        )
    },
)

_VIBER = fields(
    {
        "messages": list_of(
            fields(
                {
                    "sender": text(1),
                    "destinations": list_of(fields(_DESTINATION, _MESSAGE_ID), fewest=1),
                    "content": fields(
                        {"type": one_of("TEXT"), "text": text(1, 1000)},
                        {"button": fields({"title": text(1, 30), "action": text(0, 1000)})},
                    ),
                },
                {
                    "options": fields(
                        {},
                        {
                            **_MESSAGE_OPTIONS,
                            "smsFailover": fields(
                                {"text": text(1)},
                                {
                                    "sender": _SMS_SENDER,
                                    "validityPeriod": _VALIDITY,
                                    "regional": _REGIONAL,
                                },
                            ),
                            "trackingData": text(1, 100),
                            "label": one_of("PROMOTIONAL", "TRANSACTIONAL"),
                            "applySessionRate": flag,
                            "toPrimaryDeviceOnly": flag,
                            "activationCheck": flag,
                        },
                    ),
                    "webhooks": fields(
                        {},
                        {
                            **_WEBHOOKS,
                            "delivery": fields({}, {**_DELIVERY, "receiveTriggeredFailoverReports": flag}),
                            "seen": fields({}, {"url": _URL}),
                        },
                    ),
                },
            ),
            fewest=1,
        )
    },
    {"options": fields({}, {"schedule": _SCHEDULE, "tracking": _TRACKING})},
)

# A placeholder by Meta's rules, as Infobip states them when it refuses one.
_PLACEHOLDER = text(1, pattern=r"(?![^\n\r\t]*[\n\r\t])(?!.* {5}).*")
_WHATSAPP = fields(
    {
        "messages": list_of(
            fields(
                {
                    "from": text(1, 24, pattern=_NUMBER),
                    "to": text(1, 150, pattern=_NUMBER),
                    "content": fields(
                        {
                            "templateName": text(1, 512, pattern=r"[a-z0-9_]+"),
                            "templateData": fields({"body": fields({"placeholders": list_of(_PLACEHOLDER)})}),
                            "language": text(2, pattern=r"[a-z]{2,3}(_[A-Z]{2,4})?"),
                        }
                    ),
                },
                {
                    **_MESSAGE_ID,
                    "callbackData": text(longest=4000),
                    "notifyUrl": _URL,
                    "urlOptions": _TRACKING,
                    "smsFailover": fields({"from": text(1, 24), "text": text(1, 4096)}),
                    "entityId": text(longest=255),
                    "applicationId": text(longest=255),
                    "context": fields({"replyToMessageId": text()}),
                },
            ),
            fewest=1,
        )
    },
    {"bulkId": text(longest=100)},
)

BODIES: dict[str, Rule] = {
    "/sms/3/messages": _SMS,
    "/viber/2/messages": _VIBER,
    "/whatsapp/1/message/template": _WHATSAPP,
}
"""The rule for the body of each request that sends, by its path."""

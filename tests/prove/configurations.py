"""Configurations of operators: the demo's, one with everything that is shipped, one with a plugin that leaks."""

from gatepost.demo import environment as demo

KEY = "the-operators-own-key-4711"

DEMO = demo._CONFIG.format(
    port=8080,
    authorization="the-operators-secret-0815",
    api_key=KEY,
    callback_url="https://crm.example/callback",
    source=demo.CONTACT_SOURCE,
    email="sandbox",
    sms="sandbox",
).replace('callback_hosts = ["127.0.0.1"]', 'callback_hosts = ["crm.example"]') + (
    '[plugins.sandbox]\nuse = "sandbox"\nfolder = "mail"\n'
)

EVERYTHING = """
[server]
max_body = 100_000

[clients.first]
authorization = ["the-operators-secret-0815"]
allow_ips = ["203.0.113.0/24"]
callback_api_key = "the-operators-own-key-4711"
callback_hosts = ["*.crm.example"]
email_senders = ["@brand.example"]
per_user_per_day = 5
merge_fields = true

[clients.second]
authorization = ["the-operators-secret-2342"]
allow_ips = ["203.0.113.0/24"]
sms_authorization = false

[contacts]
sources = ["players"]
shared = true

[routes]

[[routes.email]]
name = "big"
domains = ["big-mail.example"]
split = { grid = 50, relay = 50 }

[[routes.email]]
name = "other"
use = ["grid", "relay"]
next_after = 600

[[routes.sms]]
name = "closed"
prefixes = ["+4477009"]
senders = ["Closed"]
refuse = "this sender is closed"

[[routes.sms]]
name = "germany"
countries = ["DE"]
clients = ["first"]
use = ["aggregator", "texts"]

[[routes.sms]]
name = "guernsey"
countries = ["GG"]
use = ["texts"]

[[routes.sms]]
name = "rest"
use = ["texts", "box"]
per_day = 100

[plugins.players]
use = "csv"
path = "contacts.csv"

[plugins.grid]
use = "sendgrid"
api_key = "the-operators-own-key-4711"

[plugins.relay]
use = "smtp"
host = "relay.example"
security = "starttls"

[plugins.texts]
use = "vonage"
application_id = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
private_key = "file:key.pem"

[plugins.aggregator]
use = "http"
channel = "sms"
base_url = "https://aggregator.example"
bearer = "the-operators-own-key-4711"
request = { path = "/m", json = { to = "{recipient}", text = "{text}" } }
answer = { success = [200] }

[plugins.box]
use = "sandbox"
folder = "mail"
"""

LEAKY = """
[clients.brand]
authorization = ["the-operators-secret-0815"]

[contacts]
sources = ["players"]

[routes]
email = ["leaky"]

[plugins.players]
use = "csv"
path = "contacts.csv"

[plugins.leaky]
use = "leaky"
mailbox = "mailbox"
"""

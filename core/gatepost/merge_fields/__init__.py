"""Merge fields: ``{{contact.first_name|there}}`` in a subject, HTML or text, filled from the contact's attributes.

The subjects and bodies of messages are templates: read when a message arrives, to refuse what can't be filled, and
again right before each send, to fill it. Values are in memory only, and never in a log.
"""

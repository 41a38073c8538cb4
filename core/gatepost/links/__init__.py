"""The links in mails: one-click unsubscribe (RFC 8058) and the pixel that tells that a mail was opened."""

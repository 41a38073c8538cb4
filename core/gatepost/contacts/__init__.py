"""Contact lookup: the email address or phone number of a user id."""

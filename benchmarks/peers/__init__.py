"""Programs that a user would pick instead of Gatepost, measured beside it on the same cores.

Each does what Gatepost does with a message as far as it can: take it, look nothing up, send it through a provider. What
each promises meanwhile is in the table, because the figures alone would compare unlike things.
"""

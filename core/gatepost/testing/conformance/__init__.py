"""What every plugin must do, as checks that can be run against any of them.

``registry`` lists the checks. ``harness`` holds what they run on, ``running_plugin`` a plugin inside its
lifespan, ``provider`` what an emulated provider offers them. ``recorder`` records what a plugin logs, starts
and leaves behind, ``leaks`` searches texts for secrets and addresses. A plugin's author calls none of it:
``gatepost.testing.suites`` makes pytest tests of the checks, and ``gatepost check --plugin`` runs those that
need no emulated provider.
"""

"""What every plugin has to do, as checks that can be run against any of them.

``registry`` lists the checks, ``bench`` is what they run on, ``provider`` is what a provider's stand-in
offers them, ``watching`` sees what a plugin leaves behind or lets out. An author never calls any of it:
``gatepost.testing.suites`` makes pytest tests of the checks, ``gatepost check --plugin`` runs those that
need no stand-in.
"""

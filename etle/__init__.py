"""E-TLE: electronic traffic law enforcement that a court, a vehicle owner and an auditor can check."""

__version__ = "0.2.0"

from etle.perception.offline import switch_off_telemetry

# before anything imports an inference engine: none of them may call home
switch_off_telemetry()

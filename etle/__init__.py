"""E-TLE: electronic traffic law enforcement that a court, a vehicle owner and an auditor can check."""

__version__ = "0.1.0"

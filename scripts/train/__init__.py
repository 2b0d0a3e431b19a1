"""Training of our own networks; nothing here is needed to run E-TLE."""

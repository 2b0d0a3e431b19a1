"""Complaints: the way in for SIKESAL and other systems, and the desk where they are answered."""

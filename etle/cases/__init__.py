"""The case store: what was flagged, the evidence it rests on, and who decided what."""

"""The officer's desk: a JSON API and pages over the case store."""

"""Training, export and measurement of the vehicle and plate detector; see ``docs/models.md``."""

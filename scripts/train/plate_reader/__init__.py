"""Training of the plate reader: ``python -m scripts.train.plate_reader --help``; docs/models.md has the recipe."""

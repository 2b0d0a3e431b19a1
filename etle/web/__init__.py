"""The officer's desk: a JSON API and pages over the case store."""

from etle.web.app import create_app, serve

__all__ = ["create_app", "serve"]

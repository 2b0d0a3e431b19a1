"""Sending notices: post, e-mail, SMS and WhatsApp gateways, over the outbox of :mod:`etle.cases.deliveries`."""

"""Documents that leave the office: the ticket, with what was measured and how well it is known."""

"""The operations centre's board: a live page fed by server-sent events, and the way in for what cameras report."""

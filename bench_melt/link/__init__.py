"""The host's side of the wire: frames, exactly-once exchange, the session's commands."""

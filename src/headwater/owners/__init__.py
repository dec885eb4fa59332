"""The single writer per partition: commands in, events, states and replies out, in one transaction."""

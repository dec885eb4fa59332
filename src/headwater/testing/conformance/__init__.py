"""One suite per port, run by every implementation, ours and yours."""

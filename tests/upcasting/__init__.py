"""Old events, read by the code of today, wherever events are read."""

"""A CD shop of three services (orders, billing, analytics) that share nothing but `contract`."""

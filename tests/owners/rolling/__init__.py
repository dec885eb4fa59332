"""Two versions of one app, each as a program: `python -m tests.owners.rolling.run old|new URL PREFIX`."""

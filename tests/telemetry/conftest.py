from tests.logs import log, open_again

__all__ = ["log", "open_again"]

"""A TCP proxy between Kafka's clients and brokers that makes faults on demand, for tests.

    client ──► proxy, one port per broker ──► broker
               `protocol` tells the requests apart, `faults` says what happens to which, `server` does it

The brokers advertise the proxy's ports, so nothing that is sent has to be rewritten, and what brokers send to each
other goes through it too:

    with Proxy() as proxy:
        cluster = start_brokers(2, directory, advertise=proxy.before)
        kept = proxy.keep_request(Api.END_TXN, client="orders-", cut=True)
        ...
        kept.release()
"""

from headwater.testing.proxy.faults import Fault
from headwater.testing.proxy.protocol import Api, Request
from headwater.testing.proxy.server import Proxy

__all__ = ["Api", "Fault", "Proxy", "Request"]

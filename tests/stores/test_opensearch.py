"""The store in OpenSearch and Elasticsearch keeps the contract, on real servers. What Elasticsearch does
otherwise would show in the conformance suite, so the other tests run on OpenSearch."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headwater.stores.opensearch import OpenSearchStore
from headwater.stores.port import Store
from headwater.testing.conformance.store import StoreConformance
from headwater.testing.conformance.switching import SwitchingConformance

ASK = '{"index": "account", "_source": ["name", "total"], "sort": ["total"]}'


class SearchConformance(SwitchingConformance, StoreConformance):
    ask = ASK


class TestOpenSearchStore(SearchConformance):
    @pytest.fixture
    def store(self, opensearch_url: str) -> Iterator[Store]:
        store = OpenSearchStore(opensearch_url)
        yield store
        store.close()


@pytest.mark.slow
class TestElasticsearchStore(SearchConformance):
    @pytest.fixture
    def store(self, elasticsearch_url: str) -> Iterator[Store]:
        store = OpenSearchStore(elasticsearch_url)
        yield store
        store.close()

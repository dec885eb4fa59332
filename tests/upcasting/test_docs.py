"""What the page shows runs."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from headwater.messages import JsonCodec
from headwater.messages.upcasting import parts_of
from headwater.messages.upcasts import refuse_missing_steps

PAGE = Path(__file__).resolve().parents[2] / "docs" / "upcasting.md"


def test_the_page_runs() -> None:
    names: dict[str, Any] = {"__name__": __name__}
    code = "".join(
        part.partition("```")[0] for part in PAGE.read_text().split("```python\n")[1:] if "hw.upcasts" in part
    )
    exec(compile(code, PAGE, "exec", dont_inherit=True), names)
    family = names["OrderEvent"]
    refuse_missing_steps([family])
    codec: JsonCodec[Any] = JsonCodec([family])
    placed = codec.decode(b'{"eventType":"OrderPlaced","orderId":"1","total":1250}')
    assert placed == names["OrderPlaced"]("1", Decimal("12.5"), "EUR")
    read: list[Any] = [  # of the page's classes
        codec.decode(b'{"eventType":"%b","orderId":"1","total":2}' % kind) for kind in (b"OrderClosed", b"OrderViewed")
    ]
    assert [[one for _, one in parts_of(event)] for event in read] == [
        [names["OrderPaid"]("1", Decimal(2)), names["OrderDelivered"]("1")],
        [],
    ]

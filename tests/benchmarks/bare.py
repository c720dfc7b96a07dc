"""The least that Flask can do with a call: JSON in, an answer as long out. It brings nothing of ours."""

from __future__ import annotations

import orjson
from flask import Flask, Response, request

CARDS = orjson.dumps({"cards": [{"summary": "x" * 1500}]})
app = Flask("floor")


@app.post("/cds-services/coding-assist")
def fixed() -> Response:
    orjson.loads(request.get_data())
    return Response(CARDS, content_type="application/json")

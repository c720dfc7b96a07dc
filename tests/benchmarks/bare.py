"""The least that Flask can do with a call, in a module that brings nothing of ours."""

from __future__ import annotations

from flask import Flask, Response, request

CARDS = b'{"cards":[{"summary":"' + b"x" * 1500 + b'"}]}'
app = Flask("floor")


@app.post("/cds-services/coding-assist")
def fixed() -> Response:
    request.get_json()
    return Response(CARDS, content_type="application/json")

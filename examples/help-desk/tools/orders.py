"""An MCP server over standard input and output: JSON-RPC 2.0, a message a line, nothing to install.

Try it: echo '{"jsonrpc":"2.0","id":1,"method":"tools/list"}' | python3 orders.py
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

ORDERS = Path(__file__).with_name("orders.csv")
PROTOCOL = "2025-06-18"
METHOD_NOT_FOUND, INVALID_PARAMS, PARSE_ERROR = -32601, -32602, -32700
ZONES = {"home": (4.90, 1.10), "europe": (9.90, 2.40), "world": (19.90, 5.80)}  # base, for each kg
TOOLS = [
    {
        "name": "find_order",
        "description": "Find an order by its number, such as A-1001.",
        "inputSchema": {
            "type": "object",
            "properties": {"number": {"type": "string"}},
            "required": ["number"],
        },
    },
    {
        "name": "shipping_cost",
        "description": "What a parcel costs, in euros.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "kilograms": {"type": "number", "exclusiveMinimum": 0, "maximum": 30},
                "zone": {"type": "string", "enum": list(ZONES)},
            },
            "required": ["kilograms", "zone"],
        },
    },
]


class Refused(Exception):
    """A request that cannot be answered: a JSON-RPC code and words."""

    def __init__(self, code: int, words: str) -> None:
        self.code = code
        super().__init__(words)


def find_order(number: str) -> str:
    with ORDERS.open(newline="", encoding="utf-8") as file:
        for order in csv.DictReader(file):
            if order["number"] == number.strip().upper():
                return json.dumps(order)
    raise LookupError(f"There is no order {number}.")


def shipping_cost(kilograms: float, zone: str) -> str:
    if zone not in ZONES or not 0 < kilograms <= 30:
        raise LookupError(f"Parcels of up to 30 kg go to: {', '.join(ZONES)}.")
    base, each = ZONES[zone]
    return f"{base + each * kilograms:.2f}"


def call(params: dict[str, Any]) -> dict[str, Any]:
    """What went wrong with a tool is a result: the model reads it and tries otherwise."""
    tools = {"find_order": find_order, "shipping_cost": shipping_cost}
    if params.get("name") not in tools:
        raise Refused(INVALID_PARAMS, "There is no such tool.")
    try:
        text, failed = tools[params["name"]](**params.get("arguments", {})), False
    except (LookupError, TypeError, AttributeError) as error:
        text, failed = str(error), True
    return {"content": [{"type": "text", "text": text}], "isError": failed}


def result_of(method: str, params: dict[str, Any]) -> dict[str, Any]:
    if method == "initialize":
        return {
            "protocolVersion": PROTOCOL,
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "orders", "version": "1.0.0"},
        }
    if method == "ping":
        return {}
    if method == "tools/list":
        return {"tools": TOOLS}
    if method == "tools/call":
        return call(params)
    raise Refused(METHOD_NOT_FOUND, f"The method {method} is not known here.")


def answer(line: str) -> dict[str, Any] | None:
    """The answer to one line; None for what wants none (a notification)."""
    try:
        message = json.loads(line)
    except ValueError:
        error = {"code": PARSE_ERROR, "message": "This is no JSON."}
        return {"jsonrpc": "2.0", "id": None, "error": error}
    if not isinstance(message, dict) or "id" not in message:
        return None
    head = {"jsonrpc": "2.0", "id": message["id"]}
    try:
        return {**head, "result": result_of(message.get("method", ""), message.get("params") or {})}
    except Refused as refused:
        return {**head, "error": {"code": refused.code, "message": str(refused)}}


if __name__ == "__main__":
    for line in sys.stdin:
        said = answer(line)
        if said is not None:
            sys.stdout.write(json.dumps(said) + "\n")
            sys.stdout.flush()

#!/usr/bin/env python3
"""Sends an event to all who subscribe to its type, waits for what becomes of it, and calls a service: with
Python's standard library.

	python3 events.py http://127.0.0.1:8080 order.created

Source and id say which event it is: sent again, because no answer came, it is the same one.
"""
import json
import sys
import time
import urllib.error
import urllib.request
import uuid

TRIES = 5


def ask(url, body=None, headers=None):
    request = urllib.request.Request(url, data=body, headers=headers or {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def send(base, event):
    """The answer, when it is accepted. A refusal that says so in so many words is not asked again."""
    body = json.dumps(event).encode()
    for left in reversed(range(TRIES)):
        try:
            return ask(base + "/v1/events", body, {"Content-Type": "application/cloudevents+json"})
        except urllib.error.HTTPError as error:
            if error.code not in (429, 503) or left == 0:
                sys.exit(f"{error.code}: {error.read().decode()}")
            time.sleep(float(error.headers.get("Retry-After", 1)))
        except OSError:
            if left == 0:
                raise
            time.sleep(1)


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: events.py URL TYPE")
    base, kind = sys.argv[1:]
    sent = send(base, {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": "/examples/python",
        "type": kind,
        "data": {"total": 12},
    })
    print("accepted:", sent["location"])
    print("became:", json.dumps(ask(base + sent["location"] + "?wait=30s")))
    print("hello:", json.dumps(ask(base + "/hello?name=Python")))


main()

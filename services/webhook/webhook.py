#!/usr/bin/env python3
"""An endpoint for services/webhook: python3 webhook.py PORT

It greets, and works off each event once: an event may come more than once, always with the same
Pirn-Event-Id. (Here they are kept in memory; an endpoint that means it keeps them with its data.)"""
import http.server
import json
import sys

seen = set()


class Hook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        event = self.headers.get("Pirn-Event-Id")
        try:
            name = json.loads(body)["name"]
        except (ValueError, KeyError, TypeError):
            return self.answer(400, {"detail": 'expected {"name": ...}'})  # an event ends dead: it never will be right
        if event not in seen:
            print(f"hello {name}", flush=True)
        if event:
            seen.add(event)
        self.answer(200, {"hello": name, "attempt": int(self.headers["Pirn-Attempt"])})

    def answer(self, status, value):
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Hook)
    print(f"listening on {server.server_address[1]}", flush=True)
    server.serve_forever()

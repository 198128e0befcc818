#!/usr/bin/env python3
"""A server that speaks the OpenAI-compatible streaming API, to be pushed to a phone.

Needs nothing but Python. Arguments: the model's path, --port, and for faults --die-after TOKENS and
--stall-after TOKENS FILE.
"""

import argparse
import http.server
import json
import os
import pathlib
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    die_after = stall_after = -1
    stall_file = pathlib.Path()

    def log_message(self, *arguments: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self._answer(b'{"status": "ok"}', "application/json")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for index in range(body["max_tokens"]):
            if index == self.die_after:
                os._exit(9)
            if index == self.stall_after:
                self.stall_file.touch()
                time.sleep(300)
            self._event({"choices": [{"text": f"t{index} "}]})
        self._event({"choices": [], "usage": {"prompt_tokens": 8, "completion_tokens": index + 1}})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _event(self, value: object) -> None:
        self._chunk(b"data: " + json.dumps(value).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
        self.wfile.flush()

    def _answer(self, data: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--die-after", type=int, default=-1)
    parser.add_argument("--stall-after", nargs=2, default=["-1", "."], metavar=("TOKENS", "FILE"))
    given = parser.parse_args()
    if not given.model.is_file():
        sys.exit(f"no model at {given.model}")
    Handler.die_after = given.die_after
    Handler.stall_after = int(given.stall_after[0])
    Handler.stall_file = pathlib.Path(given.stall_after[1])
    http.server.ThreadingHTTPServer(("127.0.0.1", given.port), Handler).serve_forever()


if __name__ == "__main__":
    main()

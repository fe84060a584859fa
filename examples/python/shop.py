"""A shop that asks for a consent, queues a message, and learns how it ended, through `wxsub serve`.

Python 3.9 or newer, standard library only. docs/curl.md says how to run it.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

APP = f"{os.environ['WXSUB_SERVER']}/v1/apps/{os.environ['WXSUB_APPID']}"
KEY = os.environ["WXSUB_KEY"]
WEBHOOK_SECRET = os.environ["WXSUB_WEBHOOK_SECRET"]
PORT = int(os.environ.get("PORT", "8000"))
# One scene for each occasion of a message, here "the parcel leaves". Not one for each order.
CONSENT = {"template_id": "sandbox-template-1", "scene": 1000}


def call(path, body, **headers):
    """POSTs JSON to the control server. Raises RuntimeError with the problem if the server refuses."""
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json", **headers}
    request = Request(APP + path, json.dumps(body).encode(), headers)
    try:
        with urlopen(request, timeout=35) as response:
            return json.load(response)
    except HTTPError as error:
        raise RuntimeError(json.load(error)["detail"]) from None


def verify(secret, webhook_id, timestamp, signature, body):
    if abs(time.time() - int(timestamp)) > 300:
        raise ValueError("too old, or from the future")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.new(key, f"{webhook_id}.{timestamp}.".encode() + body, hashlib.sha256)
    expected = b"v1," + base64.b64encode(mac.digest())
    if not any(hmac.compare_digest(expected, one.encode()) for one in signature.split(" ")):
        raise ValueError("wrong signature")
    return json.loads(body)


class Shop(BaseHTTPRequestHandler):
    timeout = 30

    def log_message(self, *_):
        """Logs no requests, because the callback has the openid."""

    def do_GET(self):
        url = urlsplit(self.path)
        try:
            if url.path == "/":
                self.ask()
            elif url.path == "/back":
                self.back(url.query)
            else:
                self.answer(404, "no such page")
        except RuntimeError as refused:
            self.answer(400, str(refused))

    def ask(self):
        """Makes a session and sends the visitor to Weixin."""
        session = secrets.token_hex(8)
        back = f"http://127.0.0.1:{PORT}/back"
        issued = call("/consents", {**CONSENT, "session": session, "redirect_url": back})
        self.send_response(302)
        self.send_header("Location", issued["url"])
        # `Lax` sends the cookie when Weixin redirects the visitor back. Add `Secure` where there is TLS.
        self.send_header("Set-Cookie", f"session={session}; HttpOnly; SameSite=Lax; Path=/")
        self.end_headers()

    def back(self, query):
        """Handles the callback: has the server verify and record it, and queues the message."""
        cookie = SimpleCookie(self.headers.get("Cookie", "")).get("session")
        session = cookie.value if cookie else ""
        consent = call("/grants", {"callback": query, "session": session})
        if consent["outcome"] == "declined":
            return self.answer(200, "No message, then.")
        message = {
            **CONSENT,
            "touser": parse_qs(query)["openid"][0],
            "title": "Parcel",
            "data": {"content": {"value": "It is on its way."}},
        }
        # The same key again is the same message: a reload, or a repeat after a lost response, sends nothing twice.
        queued = call("/outbox", message, **{"Idempotency-Key": f"order-{session}"})
        self.answer(200, f"Thank you. Your message is {queued['id']}.")

    def do_POST(self):
        """Handles a webhook: how a message ended."""
        if self.path != "/hooks":
            return self.answer(404, "no such page")
        names = ["webhook-id", "webhook-timestamp", "webhook-signature"]
        try:
            length = int(self.headers.get("Content-Length", "0"))
            body = self.rfile.read(max(0, min(length, 65536)))
            event = verify(WEBHOOK_SECRET, *(self.headers.get(name, "") for name in names), body)
        except ValueError as error:
            return self.answer(400, str(error))
        # A webhook can come twice. Store `id` with the largest `sequence`, and ignore smaller ones.
        print(event["data"].get("idempotency_key"), event["data"]["outcome"], flush=True)
        self.answer(200, "stored")

    def answer(self, status, text):
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.end_headers()
        self.wfile.write(text.encode())


server = ThreadingHTTPServer(("127.0.0.1", PORT), Shop)
print(f"http://127.0.0.1:{PORT}", flush=True)
server.serve_forever()

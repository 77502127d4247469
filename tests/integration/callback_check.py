"""Checks a request by Standard Webhooks with nothing of Pirn's: callback_check.py WHSEC < HEAD-AND-BODY"""
import base64
import hashlib
import hmac
import sys
import time

head, _, body = sys.stdin.buffer.read().partition(b"\r\n\r\n")
lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
headers = {name.lower().decode(): value.strip().decode() for name, _, value in lines}
key = base64.b64decode(sys.argv[1].removeprefix("whsec_"))
signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
if expected not in headers["webhook-signature"].split():
    sys.exit(f"{headers['webhook-signature']} is not {expected}")
if abs(time.time() - int(headers["webhook-timestamp"])) > 300 or "." in headers["webhook-id"]:
    sys.exit(f"{headers['webhook-id']} at {headers['webhook-timestamp']}")

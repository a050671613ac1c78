"""An SMTP server for tests, started by start-test-smtp.ts. Debian: python3-aiosmtpd.

argv[1] is JSON: {port, messages, tls: "none" | "starttls" | "implicit", certificate, key,
user, password}. Every mail it takes becomes a line of JSON in the file `messages`.
"""

import asyncio
import base64
import json
import signal
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

options = json.loads(sys.argv[1])


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, rcpt_options):
        if address.startswith("refused@"):
            return "550 5.1.1 there is no such user here"
        if address.startswith("later@"):
            return "451 4.7.1 come back later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        if any(address.startswith("spam@") for address in envelope.rcpt_tos):
            return "554 5.7.1 looks like spam: " + envelope.content.decode("latin-1")[-40:].strip()
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "content": base64.b64encode(envelope.content).decode(),
            "isEncrypted": session.ssl is not None or options["tls"] == "implicit",
            "isAuthenticated": bool(session.authenticated),
        }
        with open(options["messages"], "a", encoding="ascii") as file:
            file.write(json.dumps(mail) + "\n")
        return "250 2.0.0 taken"


def authenticate(server, session, envelope, mechanism, data):
    right = LoginPassword(options["user"].encode(), options["password"].encode())
    is_right = isinstance(data, LoginPassword) and data == right
    # Not handled: the server itself answers 535.
    return AuthResult(success=is_right, handled=is_right)


def make_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options["certificate"], options["key"])
    return context


def make_session():
    settings = {"hostname": "smtp.test"}
    if options["tls"] == "starttls":
        settings |= {"tls_context": make_context(), "require_starttls": True}
    if options.get("user"):
        settings |= {"authenticator": authenticate, "auth_required": True}
        settings |= {"auth_require_tls": options["tls"] == "starttls"}
    return SMTP(Handler(), **settings)


async def main():
    loop = asyncio.get_running_loop()
    context = make_context() if options["tls"] == "implicit" else None
    await loop.create_server(make_session, "127.0.0.1", options["port"], ssl=context)
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()


asyncio.run(main())

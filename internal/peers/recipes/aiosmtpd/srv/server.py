"""An SMTP server that takes mail for the mailboxes of e.test, and keeps it in
/var/vmail. A trace field says who has logged in."""

import asyncio
import os
import re
import ssl

from aiosmtpd.smtp import SMTP, AuthResult

count = 0


def authenticate(server, session, envelope, mechanism, data):
    right = data.login == b"@USER@" and data.password == b"@PASSWORD@"
    return AuthResult(success=right, handled=False, auth_data="@USER@")


class Keep:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if not re.fullmatch(r"(u|v|r\d+)@e\.test", address):
            return "550 5.1.1 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 taken"

    async def handle_DATA(self, server, session, envelope):
        global count
        count += 1
        user = session.auth_data or "nobody"
        for address in envelope.rcpt_tos:
            folder = "/var/vmail/" + address.split("@")[0]
            os.makedirs(folder, exist_ok=True)
            with open(f"{folder}/.{count}", "wb") as file:
                file.write(f"Received: by @NAME@ for {user}\r\n".encode())
                file.write(envelope.original_content)
            os.rename(f"{folder}/.{count}", f"{folder}/{count}")
        return "250 2.0.0 kept"


async def main():
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain("/etc/tls.pem", "/etc/tls.key")
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(
            Keep(),
            hostname="@NAME@",
            data_size_limit=50 << 20,
            enable_SMTPUTF8=True,
            tls_context=tls,
            authenticator=authenticate,
            auth_require_tls=False,
        ),
        "@IP@",
        25,
    )
    await server.serve_forever()


asyncio.run(main())

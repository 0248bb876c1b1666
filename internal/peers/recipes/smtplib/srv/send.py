"""send.py HOST starttls|clear FROM TO...: sends standard input by smtplib."""

import smtplib
import ssl
import sys

host, tls, sender, *recipients = sys.argv[1:]
with smtplib.SMTP(host, 25, local_hostname="client.test") as s:
    if tls == "starttls":
        s.starttls(context=ssl.create_default_context(cafile="/etc/roots.pem"))
    s.ehlo()
    options = ["BODY=8BITMIME"]
    if not (sender + "".join(recipients)).isascii():
        options.append("SMTPUTF8")
    refused = s.sendmail(sender, recipients, sys.stdin.buffer.read(), options)
sys.exit(1 if refused else 0)

'use strict'

// send.js HOST starttls|clear FROM TO...: sends standard input by Nodemailer.

const fs = require('node:fs')
const nodemailer = require('/opt/npm/node_modules/nodemailer')

const [host, tls, from, ...to] = process.argv.slice(2)
nodemailer.createTransport({
    host,
    port: 25,
    name: 'client.test',
    ignoreTLS: tls !== 'starttls',
    requireTLS: tls === 'starttls',
    tls: { ca: fs.readFileSync('/etc/roots.pem') },
}).sendMail({ envelope: { from, to }, raw: fs.readFileSync(0) }).then(
    (info) => process.exit(info.rejected.length > 0 ? 1 : 0),
    (error) => { console.error(error.message); process.exit(1) },
)

'use strict'

// An SMTP server that takes mail for the mailboxes of e.test, and keeps it in
// /var/vmail. A trace field says who has logged in.

const fs = require('node:fs')
const { SMTPServer } = require('/opt/npm/node_modules/smtp-server')

let count = 0

new SMTPServer({
    name: '@NAME@',
    size: 50 << 20,
    key: fs.readFileSync('/etc/tls.key'),
    cert: fs.readFileSync('/etc/tls.pem'),
    authMethods: ['PLAIN', 'LOGIN', 'CRAM-MD5'],
    authOptional: true,
    allowInsecureAuth: true,
    disableReverseLookup: true,
    onAuth(auth, session, callback) {
        const right = auth.username === '@USER@' &&
            (auth.method === 'CRAM-MD5' ? auth.validatePassword('@PASSWORD@') : auth.password === '@PASSWORD@')
        callback(right ? null : new Error('wrong password'), right ? { user: auth.username } : undefined)
    },
    onRcptTo(address, session, callback) {
        if (/^(u|v|r\d+)@e\.test$/.test(address.address)) return callback()
        const refusal = new Error('no such mailbox')
        refusal.responseCode = 550
        callback(refusal)
    },
    onData(stream, session, callback) {
        const parts = [Buffer.from(`Received: by @NAME@ for ${session.user || 'nobody'}\r\n`)]
        stream.on('data', (part) => parts.push(part))
        stream.on('end', () => {
            const name = ++count
            for (const { address } of session.envelope.rcptTo) {
                const folder = `/var/vmail/${address.split('@')[0]}`
                fs.mkdirSync(folder, { recursive: true })
                fs.writeFileSync(`${folder}/.${name}`, Buffer.concat(parts))
                fs.renameSync(`${folder}/.${name}`, `${folder}/${name}`)
            }
            callback()
        })
    },
}).listen(25, '@IP@')

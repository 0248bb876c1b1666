'use strict'

// Takes mail for the mailboxes of e.test, and keeps it in /var/vmail.

const fs = require('node:fs')

exports.hook_rcpt = (next, connection, [rcpt]) => {
    if (rcpt.host === 'e.test' && /^(u|v|r\d+)$/.test(rcpt.user)) return next(OK)
    next(DENY, 'no such mailbox')
}

exports.hook_queue = (next, connection) => {
    const txn = connection.transaction
    txn.message_stream.get_data((data) => {
        for (const rcpt of txn.rcpt_to) {
            const folder = `/var/vmail/${rcpt.user}`
            fs.mkdirSync(folder, { recursive: true })
            fs.writeFileSync(`${folder}/.${txn.uuid}`, data)
            fs.renameSync(`${folder}/.${txn.uuid}`, `${folder}/${txn.uuid}`)
        }
        next(OK)
    })
}

// Mail of somebody who has logged in is mail to send on, wherever it is for.
exports.hook_queue_outbound = exports.hook_queue

// Servers of this process listen on the loopback interface alone, unless a host is named explicitly.
'use strict';

const net = require('net');

const LOOPBACK = '127.0.0.1';

/** From now on a server that is given a bare port, or none, listens on 127.0.0.1. */
function onLoopback() {
    const listen = net.Server.prototype.listen;
    net.Server.prototype.listen = function (...args) {
        const [first, second] = args;
        if (first === undefined || first === null || typeof first === 'function') {
            // listen(), listen(callback): a port of the system's choice
            const callback = args.find((arg) => typeof arg === 'function');
            args = callback ? [{ port: 0, host: LOOPBACK }, callback] : [{ port: 0, host: LOOPBACK }];
        } else if (typeof first === 'number' || (typeof first === 'string' && /^\d+$/.test(first))) {
            // listen(port[, host][, backlog][, callback])
            if (typeof second !== 'string') {
                args.splice(1, second === undefined || second === null ? 1 : 0, LOOPBACK);
            }
        } else if (typeof first === 'object' && first.port !== undefined && !first.host && first.fd === undefined) {
            args[0] = { ...first, host: LOOPBACK };
        }
        return listen.apply(this, args);
    };
}

module.exports = { LOOPBACK, onLoopback };

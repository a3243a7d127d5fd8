// Loaded into NNI's manager before its own code (node --require). NNI 3.0 listens on all interfaces, asks for no
// password, serves any file that its user can read, starts TensorBoard with --bind_all, and has no option for
// either. With this, both listen on 127.0.0.1; a host that is named explicitly is left alone.
'use strict';

const childProcess = require('child_process');
const net = require('net');

const LOOPBACK = '127.0.0.1';

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

const spawn = childProcess.spawn;
childProcess.spawn = function (command, args, ...rest) {
    if (/(^|[\\/])tensorboard$/.test(command) && Array.isArray(args)) {
        args = args.map((arg) => String(arg).replace('--bind_all', `--host=${LOOPBACK}`));
        if (!args.some((arg) => arg.includes('--host='))) {
            args = [`--host=${LOOPBACK}`, ...args];
        }
    }
    return spawn.call(this, command, args, ...rest);
};

// What the manager starts (trials) gets the user's own NODE_OPTIONS back.
const original = process.env.UXNET_USER_NODE_OPTIONS;
delete process.env.UXNET_USER_NODE_OPTIONS;
if (original) {
    process.env.NODE_OPTIONS = original;
} else {
    delete process.env.NODE_OPTIONS;
}

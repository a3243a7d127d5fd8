// Loaded into NNI's manager before its own code (node --require). NNI 3.0 listens on all interfaces, asks for no
// password, serves any file that its user can read, starts TensorBoard with --bind_all through a shell, and has no
// option for any of it. With this, both listen on 127.0.0.1 (a host that is named explicitly is left alone), behind
// the door of door.js, and TensorBoard (guarded_tensorboard.py) ends with the manager. UXNET_DOOR_OPEN leaves both on
// all interfaces, behind the same door.
'use strict';

const childProcess = require('child_process');
const Module = require('module');
const path = require('path');

const door = require('./door.js');
const { LOOPBACK, onLoopback } = require('./listening.js');
const patience = require('./patience.js');
const remote = require('./remote.js');

const TRIAL_ID = /^[\w-]{1,64}$/;

// The manager's own environment, which its trials inherit, is the user's again.
const { UXNET_DOOR_TOKEN: token, UXNET_DOOR_PYTHON: python, UXNET_MACHINES: machines } = process.env;
const isOpen = process.env.UXNET_DOOR_OPEN === '1';
delete process.env.UXNET_DOOR_OPEN;
delete process.env.UXNET_DOOR_TOKEN;
delete process.env.UXNET_DOOR_PYTHON;
delete process.env.UXNET_MACHINES;
for (const name of ['NODE_OPTIONS', 'NETRC']) {
    const original = process.env[`UXNET_USER_${name}`];
    delete process.env[`UXNET_USER_${name}`];
    if (original) {
        process.env[name] = original;
    } else {
        delete process.env[name];
    }
}

if (!token || !python) {
    throw new Error('loopback.js: no token; start the manager with uxnet launch');
}
patience.waitForManager();
patience.waitForTuner();
// After it, so that it comes first.
door.guard(token, isOpen ? Number(process.argv[process.argv.indexOf('--port') + 1]) : undefined);
door.leaveToken(token, process.argv);
if (machines) {
    remote.install(token, python, JSON.parse(machines));
}

if (!isOpen) {
    onLoopback();
}

const spawn = childProcess.spawn;
childProcess.spawn = function (command, args, options = {}) {
    if (!Array.isArray(args)) {
        [args, options] = [[], args || {}];
    }
    const env = door.withKeys(options.env || process.env, token);
    if (!/(^|[\\/])tensorboard$/.test(command)) {
        return spawn.call(this, command, args, { ...options, env });
    }
    // NNI gives two options in one argument, for a shell to take apart.
    const given = args.map((arg) => String(arg).replace(/^--bind_all /, '')).filter((arg) => arg !== '--bind_all');
    const [cookieName, cookie] = door.cookieOf(token);
    const secrets = {
        UXNET_DOOR_TOKEN: token,
        UXNET_DOOR_COOKIE: `${cookieName}=${cookie}`,
        UXNET_DOOR_PARENT: String(process.pid),
        UXNET_DOOR_OPEN: isOpen ? '1' : '0',
    };
    const script = path.join(__dirname, 'guarded_tensorboard.py');
    return spawn.call(this, python, [script, isOpen ? '--bind_all' : `--host=${LOOPBACK}`, ...given], {
        ...options,
        env: { ...env, ...secrets },
        shell: false,
    });
};

// NNI makes folders of the names in a request for TensorBoard, and puts them into a command.
const load = Module._load;
let isTensorboardGuarded = false;
Module._load = function (request, ...rest) {
    const loaded = load.call(this, request, ...rest);
    if (/(^|[\\/])nniTensorboardManager$/.test(request) && !isTensorboardGuarded) {
        isTensorboardGuarded = true;
        const manager = loaded.NNITensorboardManager.prototype;
        const start = manager.startTensorboardTask;
        manager.startTensorboardTask = async function (parameters) {
            const trials = (parameters || {}).trials;
            const ids = typeof trials === 'string' ? trials.split(',') : [];
            const known = await Promise.all(
                ids.map(async (id) => TRIAL_ID.test(id) && Boolean(await this.nniManager.getTrialJob(id))),
            );
            if (ids.length === 0 || !known.every(Boolean)) {
                throw new Error('trials must name trials of this experiment, separated by commas');
            }
            return start.call(this, parameters);
        };
    }
    return loaded;
};

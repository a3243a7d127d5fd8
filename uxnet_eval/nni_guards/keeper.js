// Loaded into NNI's part on another machine (its "trial keeper"; keeper.py starts it) before its own code. NNI's
// server there listens on all interfaces, hands parameters and takes results from anybody. With this it listens on
// 127.0.0.1, behind a door with a token of its own; each trial gets a key for its own channel in its environment.
// A trial is stopped with all its processes, and ends with the keeper.
'use strict';

const childProcess = require('child_process');
const crypto = require('crypto');
const Module = require('module');

const door = require('./door.js');
const { onLoopback } = require('./listening.js');

const original = process.env.UXNET_USER_NODE_OPTIONS;
delete process.env.UXNET_USER_NODE_OPTIONS;
delete process.env.NODE_OPTIONS;
if (original) {
    process.env.NODE_OPTIONS = original;
}

const token = crypto.randomBytes(32).toString('hex');
const secrets = new Map(); // by trial
const running = new Set();
door.guard(token);
onLoopback();

const spawn = childProcess.spawn;
childProcess.spawn = function (command, args, options = {}) {
    if (!Array.isArray(args)) {
        [args, options] = [[], args || {}];
    }
    const env = door.withKeys(options.env || process.env, token);
    const trial = (options.env || {}).NNI_TRIAL_JOB_ID;
    if (trial === undefined) {
        return spawn.call(this, command, args, { ...options, env });
    }
    const given = { ...env, ...secrets.get(trial) };
    const child = spawn.call(this, command, args, { ...options, env: given, detached: true });
    child.kill = (signal = 'SIGTERM') => signalGroup(child, signal);
    running.add(child);
    child.on('exit', () => running.delete(child));
    return child;
};

/** Signals a trial's shell and what it has started. */
function signalGroup(child, signal) {
    try {
        process.kill(-child.pid, signal);
        return true;
    } catch {
        return false; // it has ended
    }
}

process.on('exit', () => running.forEach((child) => signalGroup(child, 'SIGTERM')));

const load = Module._load;
let isDone = false;
Module._load = function (request, ...rest) {
    const loaded = load.call(this, request, ...rest);
    if (/(^|[\\/])keeper$/.test(request) && loaded.TrialKeeper && !isDone) {
        isDone = true;
        const createTrial = loaded.TrialKeeper.prototype.createTrial;
        loaded.TrialKeeper.prototype.createTrial = function ({ secrets: own, ...options }) {
            secrets.set(options.id, own || {});
            return createTrial.call(this, options);
        };
    }
    return loaded;
};

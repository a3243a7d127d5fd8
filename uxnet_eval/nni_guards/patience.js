// NNI 3.0 gives up on a machine that is busy: nnictl waits some four seconds for the manager, the manager ten
// seconds for the tuner, and importing NNI alone can take longer. With this both wait for a minute or more.
'use strict';

const http = require('http');
const Module = require('module');

const TUNER_MS = 120000;
const MANAGER_MS = 15000; // below the 20 s after which nnictl's request ends
const POLL_MS = 250;

/** Holds back the answer INITIALIZING, which nnictl takes for a fault, and asks again. */
function waitForManager() {
    const emit = http.Server.prototype.emit;
    http.Server.prototype.emit = function (event, request, response, ...rest) {
        if (event === 'request' && request.method === 'GET' && /\/check-status$/.test(request.url)) {
            const end = response.end;
            const deadline = Date.now() + MANAGER_MS;
            const url = request.url; // routers change it
            response.end = (chunk, ...others) => {
                if (String(chunk) !== 'INITIALIZING' || Date.now() > deadline) {
                    return end.call(response, chunk, ...others);
                }
                setTimeout(() => {
                    request.url = url;
                    response.removeHeader('ETag');
                    emit.call(this, event, request, response, ...rest);
                }, POLL_MS);
                return response;
            };
        }
        return emit.call(this, event, request, response, ...rest);
    };
}

/** The manager waits longer for the tuner to connect. */
function waitForTuner() {
    const load = Module._load;
    let isDone = false;
    Module._load = function (request, ...rest) {
        const loaded = load.call(this, request, ...rest);
        if (/(^|[\\/])tuner_command_channel$/.test(request) && !isDone) {
            isDone = true;
            const server = loaded.getTunerServer();
            server.init = function () {
                const giveUp = () => this.connect.reject(new Error(
                    `Tuner did not connect in ${TUNER_MS / 1000} seconds. Please check tuner (dispatcher) log.`,
                ));
                const timer = setTimeout(() => this.connect.settled || giveUp(), TUNER_MS);
                return this.connect.promise.finally(() => clearTimeout(timer));
            };
        }
        return loaded;
    };
}

module.exports = { waitForManager, waitForTuner };

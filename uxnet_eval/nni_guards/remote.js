// Trials on other machines (trainingService: remote). NNI 3.0 wants the manager open to the network, takes any host
// key, upgrades its own package on the machine, starts a server there that is open to the network and runs whatever
// it is sent, gives trials out in turn instead of to a free machine, gives up a machine for good, and calls a trial
// whose machine died USER_CANCELED. With this:
//
// - ssh.js reaches the machine; a tunnel leads from its loopback interface to the manager's. The machine and its
//   trials get keys that open their own channel alone (door.js).
// - keeper.py and keeper.js start the machine's part behind a door of its own.
// - A trial's files are fetched when it ends (fetch.py).
// - A trial whose machine was lost is SYS_CANCELED, with the machine's name; the machine is tried again.
'use strict';

const childProcess = require('child_process');
const Module = require('module');
const path = require('path');

const door = require('./door.js');
const { LOOPBACK } = require('./listening.js');
const { Ssh, Tunnel, quoted } = require('./ssh.js');

const RETRY_MS = 15000;
const machineOf = new WeakMap(); // by NNI's settings of it, which NNI stores and which are left as they are
const isActive = (trial) => trial !== undefined && ['WAITING', 'RUNNING', 'UNKNOWN'].includes(trial.status);

/** Changes NNI's remote service when it is loaded.
 *
 * @param token of the experiment.
 * @param python that has this package, on this machine.
 * @param settings {machines: [{name, host, ssh, python, environment}], perMachine}, the machines in NNI's order.
 */
function install(token, python, settings) {
    const load = Module._load;
    let isDone = false;
    Module._load = function (request, parent, ...rest) {
        const loaded = load.call(this, request, parent, ...rest);
        if (/(^|[\\/])v3[\\/]compat$/.test(request) && !isDone) {
            isDone = true;
            const folder = path.dirname(Module._resolveFilename(request, parent));
            const from = (name) => require(path.join(folder, '..', 'remote_v3', name));
            changeSchedule(loaded.V3asV1, settings.perMachine);
            changeService(from('remote.js').RemoteTrainingServiceV3, settings.machines);
            changeWorker(from('worker.js').Worker, token, python);
        }
        return loaded;
    };
}

/** A trial goes to the machine with the fewest, and waits if each has as many as it is meant to have. */
function changeSchedule(V3asV1, perMachine) {
    const start = V3asV1.prototype.start;
    V3asV1.prototype.start = function () {
        this.v3.compat = this;
        return start.call(this);
    };
    V3asV1.prototype.schedule = function () {
        const active = Object.values(this.trialJobs).filter(isActive);
        const counted = this.environments.map(({ id }) => [active.filter((trial) => trial.envId === id).length, id]);
        const [count, id] = counted.sort(([a], [b]) => a - b)[0] || [Infinity, null];
        return count < perMachine ? id : null;
    };
}

function changeService(Service, machines) {
    const { launchWorker, stopWorker, stop } = Service.prototype;
    Service.prototype.launchWorker = function (config) {
        const index = this.config.machineList.indexOf(config);
        machineOf.set(config, machines[index]);
        // The worker is named after its machine, so that a trial that is resumed finds its folder.
        this.lastWorkerIndex = index;
        return launchWorker.call(this, config);
    };
    Service.prototype.stopWorker = function (worker, emitEnvUpdate) {
        const { trialJobs } = this.compat;
        const mine = [...this.workersByTrial].filter(([, owner]) => owner === worker).map(([id]) => id);
        const lost = mine.filter((id) => isActive(trialJobs[id]));
        mine.filter((id) => !lost.includes(id)).forEach((id) => this.workersByTrial.delete(id));
        worker.isReady = false;
        worker.tellGone(false);
        stopWorker.call(this, worker, emitEnvUpdate);
        for (const id of lost) {
            trialJobs[id].status = 'SYS_CANCELED';
            trialJobs[id].message = `machine ${machineOf.get(worker.config).name} was lost`;
        }
    };
    Service.prototype.restartWorker = async function (lost) {
        const { name } = machineOf.get(lost.config);
        this.log.error(`Machine ${name} was lost`);
        this.stopWorker(lost, true);
        while (!this.isStopped) {
            try {
                const worker = await this.launchWorker(lost.config);
                worker.isReady = false; // until it has the code
                const tarballs = path.join(global.nni.paths.experimentRoot, 'tarball');
                for (const folder of this.uploadedDirs) {
                    await worker.upload(folder, path.join(tarballs, `${folder}.tgz`));
                }
                worker.isReady = true;
                this.emitEnvUpdate();
                this.log.info(`Machine ${name} is back`);
                return;
            } catch (error) {
                this.log.error(`Machine ${name} is not back:`, error);
                this.workers.filter(({ config }) => config === lost.config)
                    .forEach((worker) => this.stopWorker(worker, true));
            }
            await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
        }
    };
    Service.prototype.emitEnvUpdate = function () {
        // NNI sends trials to a machine that is still starting, again and again without a pause.
        this.emitter.emit('env_update', this.workers.filter((worker) => worker.isReady).map((worker) => worker.env));
    };
    Service.prototype.stop = function () {
        this.isStopped = true;
        return stop.call(this);
    };
}

function changeWorker(Worker, token, python) {
    Worker.prototype.start = async function () {
        const machine = machineOf.get(this.config);
        this.gone = new Promise((resolve) => { this.tellGone = resolve; });
        this.ssh = new Ssh(machine);
        this.python = quoted(machine.python);
        machine.tunnel = machine.tunnel || new Tunnel(machine, this.log);
        const url = new URL(this.channelUrl);
        const managerPort = url.port;
        [url.hostname, url.port] = [LOOPBACK, await machine.tunnel.open(managerPort)];
        changeTrials(this, token, url);
        fetchFiles(this, python);
        url.username = door.USER;
        url.password = door.keyOf(token, `machine ${this.channelId}`);
        await this.launchTrialKeeperDaemon(url.href);
        this.env = await this.trialKeeper.start();
        this.env.host = this.config.host;
        this.isReady = true;
    };
    Worker.prototype.launchTrialKeeperDaemon = async function (managerCommandChannel) {
        const { experimentId, logLevel } = global.nni.args;
        const launcher = { environmentId: this.envId, experimentId, logLevel, managerCommandChannel, platform: 'remote' };
        const { name, environment } = machineOf.get(this.config);
        const given = JSON.stringify({ launcher, environment });
        // Not as an argument, which every user of the machine could read.
        const output = await this.ssh.run(`${this.python} -m uxnet_eval.nni_guards.keeper`, given);
        const result = JSON.parse(output.split('\n').pop());
        if (!result.success) {
            throw new Error(`${name}: NNI's part there does not start: ${result.stderr}`);
        }
        this.uploadDir = result.uploadDirectory;
        this.remoteTrialKeeperDir = quoted(result.trialKeeperDirectory);
    };
}

/** A trial may read its own record at the manager, as on the manager's machine; its start fails with the machine. */
function changeTrials(worker, token, channel) {
    const keeper = worker.trialKeeper;
    const createTrial = keeper.createTrial.bind(keeper);
    keeper.createTrial = (options) => {
        const url = new URL(channel.href);
        [url.protocol, url.username, url.password] = ['http:', door.USER, door.keyOf(token, options.id)];
        url.pathname = url.pathname.split('/platform/')[0];
        const secrets = { UXNET_MANAGER: url.href.replace(/\/$/, '') };
        return Promise.race([createTrial({ ...options, secrets }), worker.gone]); // NNI would wait for ever
    };
}

/** The end of a trial is told when its files are here. */
function fetchFiles(worker, python) {
    const emit = worker.trialKeeper.emitTrialStop.bind(worker.trialKeeper);
    worker.trialKeeper.emitTrialStop = async (id, ...rest) => {
        const machine = machineOf.get(worker.config);
        const folder = path.join(path.dirname(worker.uploadDir), 'trials', id);
        const local = path.join(global.nni.paths.experimentRoot, 'environments', worker.envId, 'trials', id);
        const command = [...machine.ssh, machine.host, `tar -C ${quoted(folder)} -cf - --exclude=./cache .`];
        const child = childProcess.spawn(python, ['-m', 'uxnet_eval.nni_guards.fetch', local, ...command], {
            stdio: ['ignore', 'ignore', 'pipe'],
        });
        let errors = '';
        child.stderr.on('data', (data) => { errors += data; });
        child.on('error', (error) => worker.log.error('fetch.py:', error));
        child.on('close', (code) => {
            if (code !== 0) {
                worker.log.error(`The files of trial ${id} stay on ${machine.name}: ${errors.trim()}`);
            }
            emit(id, ...rest);
        });
    };
}

module.exports = { install };

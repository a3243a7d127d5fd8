// Another machine through the system's own ssh: commands, files, and a tunnel back to the manager. NNI's own SSH
// takes any host key and knows neither the user's ssh configuration nor an agent.
'use strict';

const childProcess = require('child_process');
const fs = require('fs');

const { LOOPBACK } = require('./listening.js');

const READY_MS = 60000;
const LONGEST_PAUSE_MS = 10000;

/** A text as one word of a POSIX shell. */
const quoted = (text) => `'${String(text).replace(/'/g, `'\\''`)}'`;

/** Runs commands and moves files; stands in the place of NNI's class of this name. */
class Ssh {
    constructor(machine) {
        this.machine = machine;
    }

    /** The standard output of a command; `input` is a text or a readable stream for its standard input. */
    run(command, input = '') {
        const [program, ...options] = this.machine.ssh;
        const child = childProcess.spawn(program, [...options, this.machine.host, command]);
        let [output, errors] = ['', ''];
        child.stdout.on('data', (data) => { output += data; });
        child.stderr.on('data', (data) => { errors += data; });
        child.stdin.on('error', () => {}); // it ended before it read everything: its exit code tells
        if (typeof input === 'string') {
            child.stdin.end(input);
        } else {
            input.pipe(child.stdin);
        }
        return new Promise((resolve, reject) => {
            child.on('error', reject);
            child.on('close', (code) => {
                if (code === 0) {
                    resolve(output.trim());
                } else {
                    reject(new Error(`${this.machine.name}: ${errors.trim() || `exit code ${code}`}`));
                }
            });
        });
    }

    async upload(localPath, remotePath) {
        await this.run(`cat > ${quoted(remotePath)}`, fs.createReadStream(localPath));
    }

    async download(remotePath, localPath) {
        await fs.promises.writeFile(localPath, await this.run(`cat ${quoted(remotePath)}`));
    }
}

/** A port of the machine's loopback interface that leads to the manager's; opened again whenever it breaks.
 *
 * The machine's end of the connection runs `cat` instead of nothing (-N): its input ends with this process, however
 * that ends, and with it the tunnel.
 */
class Tunnel {
    constructor(machine, log) {
        this.machine = machine;
        this.log = log;
        this.port = 0;
        this.child = null;
        this.opening = 0;
        process.on('exit', () => this.close());
    }

    /** Opens it anew, on a port of the machine's choice; returns that port. */
    async open(managerPort) {
        this.close();
        this.port = 0;
        const opening = this.opening;
        let timer = null;
        const late = new Promise((_, reject) => {
            timer = setTimeout(() => reject(new Error(`${this.machine.name}: no tunnel`)), READY_MS);
        });
        try {
            await Promise.race([this.connect(managerPort, opening), late]);
        } catch (error) {
            this.close();
            throw error;
        } finally {
            clearTimeout(timer);
        }
        this.log.info(`Tunnel from ${this.machine.name}, port ${this.port}`);
        return this.port;
    }

    close() {
        this.opening += 1; // what was opened before is not opened again
        this.child?.kill();
        this.child = null;
    }

    /** Connects once; from then on again and again, until it is closed. */
    connect(managerPort, opening) {
        const [program, ...options] = this.machine.ssh;
        const forward = `${LOOPBACK}:${this.port}:${LOOPBACK}:${managerPort}`;
        const child = childProcess.spawn(program, [
            ...options, '-T', '-o', 'ExitOnForwardFailure=yes', '-R', forward, this.machine.host,
            'echo open; exec cat',
        ]);
        this.child = child;
        child.stdin.on('error', () => {});
        let errors = '';
        child.stderr.on('data', (data) => {
            errors = (errors + data).slice(-2000);
            const [, port] = /Allocated port (\d+) for remote forward/.exec(errors) || [];
            this.port = this.port || Number(port || 0);
        });
        return new Promise((resolve, reject) => {
            let isOpen = false;
            child.stdout.on('data', (data) => {
                if (String(data).includes('open') && this.port) {
                    isOpen = true;
                    resolve();
                }
            });
            child.on('error', reject);
            child.on('close', () => {
                reject(new Error(`${this.machine.name}: no tunnel: ${errors.trim()}`));
                if (isOpen && opening === this.opening) {
                    this.log.warning(`Tunnel from ${this.machine.name} broke; opening it again`);
                    this.reconnect(managerPort, opening);
                }
            });
        });
    }

    async reconnect(managerPort, opening) {
        for (let pause = 500; opening === this.opening; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
            try {
                await this.connect(managerPort, opening);
                this.log.info(`Tunnel from ${this.machine.name} is open again`);
                return;
            } catch (error) {
                this.log.warning(String(error));
            }
            await new Promise((resolve) => setTimeout(resolve, pause));
        }
    }
}

module.exports = { Ssh, Tunnel, quoted };

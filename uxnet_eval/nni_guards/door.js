// The door of NNI's manager: who may ask it for what. NNI 3.0 asks nobody for anything, so that any web page that
// the user visits can start trials, take the tuner's place and, by DNS rebinding, read files.
//
// 1. Host must be a name of this machine (a rebound name is not), Origin the page itself (a foreign page is not).
//    Open to the network, the machine has other names too: any Host, for a rebound name has no cookie.
// 2. A path stays in the folder it begins in.
// 3. The token of this experiment: in the address at the first visit, from then on in a cookie; for programs as the
//    password of HTTP's basic authentication. The tuner and each trial get a key of their own in the address that
//    NNI hands to them, which opens nothing but their own channel (a trial's log shows that address). So does each
//    machine that trials run on (remote.js).
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const path = require('path');

const USER = 'uxnet';
const LOCAL_HOST = /^(localhost|127\.0\.0\.1|\[::1\])(:\d+)?$/i;
const NO_TOKEN = 'This page needs the token of the experiment. "uxnet launch" printed the address with it; ' +
    '"uxnet launch --resume ID" prints it again.\n';

const sign = (token, text) => crypto.createHmac('sha256', token).update(text).digest('hex');

/** True if two secrets are the same; takes as long for near misses as for others. */
function same(given, wanted) {
    const digest = (text) => crypto.createHash('sha256').update(text).digest();
    return crypto.timingSafeEqual(digest(given), digest(wanted));
}

/** The key of the tuner ("tuner"), of a trial (its id) or of another machine ("machine 1"). */
const keyOf = (token, name) => sign(token, `channel ${name}`);

/** Name and value of the browser's cookie: one for each experiment, for cookies do not tell ports apart. */
const cookieOf = (token) => [`uxnet-${sign(token, 'name').slice(0, 12)}`, sign(token, 'cookie')];

/** True if every part of a path, decoded, is one name. */
function staysInside(pathname) {
    try {
        return pathname.split('/').map(decodeURIComponent).every((part) => part !== '..' && !/[/\\\0]/.test(part));
    } catch {
        return false; // not decodable
    }
}

function passwordOf(request) {
    const [, encoded] = /^Basic ([\w+/=]+)$/.exec(request.headers.authorization || '') || [];
    const [user, ...rest] = Buffer.from(encoded || '', 'base64').toString().split(':');
    return user === USER ? rest.join(':') : '';
}

/** True if the key of a tuner, trial or machine opens this path. */
function isOwnChannel(request, pathname, token, password) {
    const machine = /(?:^|\/)platform\/remote\/(\d+)$/.exec(pathname);
    if (machine) {
        return same(password, keyOf(token, `machine ${machine[1]}`));
    }
    const [, tuner, trial, record] =
        /(?:^|\/)(?:(tuner)|env\/[^/]+\/([^/]+)|api\/v1\/nni\/trial-jobs\/([^/]+))$/.exec(pathname) || [];
    if (record !== undefined && request.method !== 'GET') {
        return false;
    }
    const name = tuner || trial || record;
    return name !== undefined && same(password, keyOf(token, name));
}

/** What becomes of a request: {status, text} refuses, {visit} is a first visit, {} lets it in. */
function judge(request, token, isOpen) {
    const { host = '', origin, cookie = '' } = request.headers;
    const site = request.headers['sec-fetch-site'];
    if (!isOpen && !LOCAL_HOST.test(host)) {
        return { status: 403, text: 'This server answers to localhost and 127.0.0.1 alone.\n' };
    }
    if (origin !== undefined && origin !== `http://${host}`) {
        return { status: 403, text: 'A page of another origin asks.\n' };
    }
    const isOpened = request.method === 'GET' && request.headers['sec-fetch-mode'] === 'navigate';
    if (site !== undefined && site !== 'same-origin' && site !== 'none' && !isOpened) {
        return { status: 403, text: 'A page of another origin asks.\n' };
    }
    const [pathname, query = ''] = request.url.split('?', 2);
    if (!pathname.startsWith('/') || !staysInside(pathname)) {
        return { status: 400, text: 'The path leads out of its folder.\n' };
    }
    if (request.method === 'GET' && pathname === '/manifest.json') {
        return {}; // a fixed file of NNI's page, which browsers fetch without cookies
    }
    const [name, value] = cookieOf(token);
    const cookies = cookie.split(';').map((each) => each.trim());
    if (cookies.some((each) => each.startsWith(`${name}=`) && same(each.slice(name.length + 1), value))) {
        return {};
    }
    const password = passwordOf(request);
    if (password && (same(password, token) || isOwnChannel(request, pathname, token, password))) {
        return {};
    }
    const asked = new URLSearchParams(query);
    if (request.method === 'GET' && same(asked.get('token') || '', token)) {
        asked.delete('token');
        const rest = asked.toString();
        // One slash: two would lead to another server.
        return { visit: pathname.replace(/^\/+/, '/') + (rest && `?${rest}`), setCookie: `${name}=${value}` };
    }
    return { status: 401, text: NO_TOKEN };
}

/** Answers a first visit: sets the cookie and goes on to the address without the token.
 *
 * A page that goes on, not a redirection: a strict cookie is not sent along a redirection from another site, such as
 * a terminal in the browser.
 */
function welcome(response, { visit, setCookie }) {
    const url = visit.replace(/[&"<>']/g, (each) => `&#${each.charCodeAt(0)};`);
    response.writeHead(200, {
        'Content-Type': 'text/html; charset=utf-8',
        'Cache-Control': 'no-store',
        'Referrer-Policy': 'no-referrer',
        'Set-Cookie': `${setCookie}; Path=/; HttpOnly; SameSite=Strict`,
    });
    response.end(`<!doctype html><meta http-equiv="refresh" content="0;url=${url}"><a href="${url}">NNI</a>\n`);
}

/** From now on every HTTP server of this process lets nobody in without the token.
 *
 * Open to the network, there is one exception: the port after the manager's own, where NNI's runners on other
 * machines report, which know no token. Only web pages are kept out there.
 *
 * @param openPort the manager's own port if it is open to the network; undefined: it is not.
 */
function guard(token, openPort) {
    const isOpen = openPort !== undefined;
    const emit = http.Server.prototype.emit;
    http.Server.prototype.emit = function (event, request, second, ...rest) {
        const isForRunners = isOpen && (this.address() || {}).port === openPort + 1;
        if (isForRunners && request && request.headers && request.headers.origin === undefined) {
            return emit.call(this, event, request, second, ...rest);
        }
        if (event === 'upgrade' || event === 'connect') {
            const verdict = judge(request, token, isOpen);
            if (verdict.status !== undefined || verdict.visit !== undefined || event === 'connect') {
                second.end(`HTTP/1.1 ${verdict.status || 403} Refused\r\nConnection: close\r\n\r\n`);
                return true;
            }
        } else if (event === 'request' || event === 'checkContinue' || event === 'checkExpectation') {
            const verdict = judge(request, token, isOpen);
            if (verdict.visit !== undefined) {
                welcome(second, verdict);
                return true;
            }
            if (verdict.status !== undefined) {
                second.writeHead(verdict.status, { 'Content-Type': 'text/plain', Connection: 'close' });
                second.end(verdict.text);
                return true;
            }
            second.setHeader('X-Frame-Options', 'SAMEORIGIN');
            second.setHeader('Referrer-Policy', 'same-origin');
            second.setHeader('Cross-Origin-Resource-Policy', 'same-origin');
        }
        return emit.call(this, event, request, second, ...rest);
    };
}

/** The environment of a process that the manager starts, with the keys in the addresses of its channel. */
function withKeys(environment, token) {
    const changed = { ...environment };
    for (const variable of ['NNI_TUNER_COMMAND_CHANNEL', 'NNI_TRIAL_COMMAND_CHANNEL']) {
        if (changed[variable] && token) {
            const url = new URL(changed[variable]);
            url.username = USER;
            url.password = keyOf(token, url.pathname.split('/').pop());
            changed[variable] = url.href;
        }
    }
    return changed;
}

/** Writes the token into the experiment's folder, for its user alone, as a .netrc that nnictl understands. */
function leaveToken(token, argv) {
    const value = (name) => argv[argv.indexOf(name) + 1];
    if (!argv.includes('--experiment-id') || !argv.includes('--experiments-directory')) {
        return;
    }
    const folder = path.join(value('--experiments-directory'), value('--experiment-id'));
    const file = path.join(folder, '.netrc');
    fs.mkdirSync(folder, { recursive: true });
    fs.rmSync(file, { force: true }); // of the manager before, whatever its permissions
    const lines = ['localhost', '127.0.0.1'].map((host) => `machine ${host} login ${USER} password ${token}\n`);
    fs.writeFileSync(file, lines.join(''), { mode: 0o600, flag: 'wx' });
}

module.exports = { USER, cookieOf, guard, keyOf, leaveToken, withKeys };

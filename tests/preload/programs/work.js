// SPDX-License-Identifier: MIT
// Node at work: JSON, maps, buffers, zlib, crypto, worker threads, a child process.
//   work.js SCALE
'use strict';
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const { createHash } = require('crypto');
const { execFileSync } = require('child_process');
const zlib = require('zlib');

function work(seed, scale) {
    const map = new Map();
    let state = seed;
    for (let i = 0; i < 20000 * scale; i++) {
        state = (Math.imul(state, 1103515245) + 12345) >>> 1;
        map.set(`key${state % 7919}`, { i, list: new Array(state % 13).fill(i) });
    }
    const text = JSON.stringify([...map].sort((a, b) => (a[0] < b[0] ? -1 : 1)));
    const buffers = [];
    for (let i = 0; i < 2000 * scale; i++) {
        buffers.push(Buffer.alloc(1 + (i * 37) % 5000, i & 255));
    }
    const packed = zlib.gzipSync(Buffer.concat([Buffer.from(text), ...buffers]));
    const hash = createHash('sha256').update(zlib.gunzipSync(packed)).digest('hex');
    return `${seed} ${map.size} ${text.length} ${hash.slice(0, 16)}`;
}

if (isMainThread) {
    const scale = Number(process.argv[2]);
    const jobs = [1, 2, 3, 4].map(seed => new Promise((resolve, reject) => {
        const worker = new Worker(__filename, { workerData: { seed, scale } });
        worker.on('message', resolve);
        worker.on('error', reject);
    }));
    Promise.all(jobs).then(lines => {
        console.log(lines.join('\n'));
        console.log(work(5, scale));
        console.log(execFileSync('/bin/echo', ['from a child']).toString().trim());
    });
} else {
    parentPort.postMessage(work(workerData.seed, workerData.scale));
}

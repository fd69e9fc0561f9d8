#!/usr/bin/env node
// Starts the tunnel-client of the package for this platform. Where Node can, the program takes this process's place.
'use strict';
const { spawn } = require('child_process');
const { constants } = require('os');

const name = `@SCOPE@/client-${process.platform}-${process.arch}`;
let program;
try {
  program = require.resolve(`${name}/bin/tunnel-client`);
} catch {
  console.error(`tunnel-client: The package ${name} is not installed. Either this platform is not supported, or npm was told to omit `
    + 'optional dependencies (--omit=optional).');
  process.exit(1);
}
const words = process.argv.slice(2);
if (typeof process.execve === 'function') process.execve(program, [program, ...words], process.env);

const child = spawn(program, words, { stdio: 'inherit' });
// A terminal sends Ctrl-C and Ctrl-\ to the program too; what somebody sends to this process alone is passed on.
for (const signal of ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'])
  process.on(signal, () => { if (!(process.stdin.isTTY && (signal === 'SIGINT' || signal === 'SIGQUIT'))) child.kill(signal); });
child.on('error', (why) => { console.error(`tunnel-client: ${why.message}`); process.exit(126); });
child.on('exit', (code, signal) => process.exit(signal ? 128 + constants.signals[signal] : code));

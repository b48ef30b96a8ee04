#!/usr/bin/env node
// `mdl`. In: argv. Out: an exit code, set and not forced: the process ends by itself once the GPU is done.
import { EXIT, fileTrouble } from "./failure.ts";
import { optimiseLater } from "./pace.ts";
import { execute } from "./program.ts";

// What the streams could not take. `mdl ops | head`: who reads is gone, and nothing is wrong with that; the exit code is
// what it would have been. A full disk is told, since what was asked for is not there.
let lost: number | undefined;
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE" || lost !== undefined) return;
  lost = EXIT.input;
  process.exitCode = lost;
  process.stderr.write(`error: cannot write ${fileTrouble(error, "standard output")}\n`);
});
process.stderr.on("error", () => undefined);

optimiseLater();
const code = await execute(process.argv.slice(2));
process.exitCode = lost ?? code;

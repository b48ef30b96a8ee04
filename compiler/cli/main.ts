#!/usr/bin/env node
// `mdl`. In: argv. Out: an exit code, set and not forced: the process ends by itself once the GPU is done.
import { EXIT } from "./failure.ts";
import { execute } from "./program.ts";

// `mdl ops | head`: who reads is gone, and nothing is wrong.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exitCode = EXIT.done;
});

process.exitCode = await execute(process.argv.slice(2));

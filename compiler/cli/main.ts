#!/usr/bin/env node
// `mdl`. In: argv. Out: an exit code, set and not forced: the process ends by itself once the GPU is done.
import { CommanderError } from "commander";
import { EXIT, explain } from "./failure.ts";
import { makeProgram } from "./program.ts";
import { painterFor } from "./style.ts";

// `mdl ops | head`: who reads is gone, and nothing is wrong.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
  process.exitCode = EXIT.done;
});

const program = makeProgram((code) => {
  process.exitCode = code;
});
for (const command of [program, ...program.commands]) command.exitOverride();

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? EXIT.done : EXIT.usage;
  else {
    const { text, code } = explain(error, painterFor(process.stderr), program.args[0] ?? "mdl");
    process.stderr.write(`${text}\n`);
    process.exitCode = code;
  }
}

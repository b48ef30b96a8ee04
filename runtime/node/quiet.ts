// Keeps Dawn's chatter from a command's standard error where runtime/core/dawn.ts cannot: a socket (what Node gives its
// children) or a file that others may be writing cannot be closed and opened again. The command is then run once more as
// a child that writes its standard error into a pipe, and everything that is not Dawn's chatter is handed on.
// For commands (`mdl run`), not for libraries: it takes some 40 ms and the whole process.
import { spawn } from "node:child_process";
import { fstatSync, readFileSync } from "node:fs";
import { constants as os } from "node:os";
import { Transform } from "node:stream";

/** Set in the child, so that it does not do the same again. */
const MARK = "MDL_QUIET_CHILD";

/** What Dawn and Mesa's Vulkan drivers print when they look for adapters. */
const CHATTER = new RegExp(
  [
    "Warning: maxDynamic(Uniform|Storage)BuffersPerPipelineLayout artificially reduced from ",
    "Warning: Couldn't load Vulkan: ",
    "Warning: vkCreateInstance",
    "    at .*/dawn/src/dawn/native/vulkan/",
    "error: XDG_RUNTIME_DIR is invalid or not set",
  ]
    .map((start) => `^${start}`)
    .join("|"),
);

/**
 * Runs this process again as a quiet child where that is needed, and resolves to its exit code when it has ended;
 * resolves to undefined where the calling process should do the work itself.
 */
export async function runAgainQuietly(): Promise<number | undefined> {
  if (process.platform !== "linux" || process.env[MARK] || !needsPipe()) return undefined;
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    stdio: ["inherit", "inherit", "pipe"],
    env: { ...process.env, [MARK]: "1" },
  });
  child.stderr.setEncoding("utf8").pipe(dropChatter()).pipe(process.stderr);
  // A signal to this process is meant for the work. The terminal's Ctrl-C reaches the child by itself; that it comes twice
  // then does no harm, and a SIGINT to this process alone would reach nobody else.
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
  process.on("SIGTERM", forward).on("SIGHUP", forward).on("SIGINT", forward);
  try {
    return await new Promise((resolve, reject) => {
      child.on("error", reject);
      child.on("close", (code, signal) => resolve(code ?? 128 + (signal ? os.signals[signal] : 0)));
    });
  } finally {
    process.off("SIGTERM", forward).off("SIGHUP", forward).off("SIGINT", forward);
  }
}

/** Whether standard error is of a kind that may not be closed and opened again. */
function needsPipe(): boolean {
  const status = fstatSync(2);
  if (!status.isFile()) return status.isSocket();
  const flags = /^flags:\s*(\d+)/m.exec(readFileSync("/proc/self/fdinfo/2", "utf8"))?.[1] ?? "0";
  return (Number.parseInt(flags, 8) & 0o2000) === 0; // not O_APPEND
}

/** A stream that hands on everything but whole lines of chatter; unfinished lines are not held back for long. */
export function dropChatter(): Transform {
  let held = "";
  let timer: NodeJS.Timeout | undefined;
  const stream = new Transform({
    decodeStrings: false,
    encoding: "utf8",
    transform(chunk: Buffer | string, _encoding, done) {
      clearTimeout(timer);
      const lines = (held + chunk.toString()).split("\n");
      held = lines.pop() ?? "";
      done(
        null,
        lines
          .filter((line) => !CHATTER.test(line))
          .map((line) => `${line}\n`)
          .join(""),
      );
      if (held) timer = setTimeout(release, 20); // a prompt or a progress line
    },
    flush(done) {
      clearTimeout(timer);
      done(null, CHATTER.test(held) ? "" : held);
    },
  });
  const release = (): void => {
    stream.push(held);
    held = "";
  };
  return stream;
}

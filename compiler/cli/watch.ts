// `--watch`: does something again whenever a file that it looked at has changed. In: what is to be done, which says what it looks
// at. Out: when the person ends it, and only then. Files are asked for their state a few times a second rather than watched by
// the system: that works on every disk, through renames, and for files that are not there yet.
import { statSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { explain } from "./failure.ts";
import { count, painterFor, styleFor } from "./style.ts";

/** Milliseconds between two looks. What changed is read when it has been still for one of them. */
const PAUSE = 150;

/** `run` is given what to call with each file it looks at, and may fail: it is told, and tried again at the next change. */
export async function watch(
  command: string,
  run: (looksAt: (file: string) => void) => Promise<void>,
): Promise<void> {
  const ended = new AbortController();
  const end = (): void => ended.abort();
  process.on("SIGINT", end);
  process.on("SIGTERM", end);
  try {
    while (!ended.signal.aborted) {
      const files = new Map<string, string>();
      const looksAt = (file: string): void => {
        if (!files.has(file)) files.set(file, stateOf(file));
      };
      try {
        await run(looksAt);
      } catch (error) {
        process.stderr.write(`${explain(error, painterFor(process.stderr), command).text}\n`);
      }
      const style = styleFor(process.stdout);
      const time = new Date().toTimeString().slice(0, 8);
      process.stdout.write(`${style.dim(`${time} watching ${count(files.size, "file")}; Ctrl-C ends`)}\n`);
      await change(files, ended.signal);
    }
  } finally {
    process.off("SIGINT", end);
    process.off("SIGTERM", end);
  }
}

/** Resolves when one of them is not as it was, and none moves any more; or when the signal comes. */
async function change(files: ReadonlyMap<string, string>, signal: AbortSignal): Promise<void> {
  const now = (): string => [...files.keys()].map(stateOf).join("\n");
  const before = [...files.values()].join("\n");
  let last = now();
  try {
    for (;;) {
      await sleep(PAUSE, undefined, { signal });
      const state = now();
      if (state !== before && state === last) return;
      last = state;
    }
  } catch {
    // Ended.
  }
}

/** What differs once a file was written or replaced. */
function stateOf(file: string): string {
  try {
    const { mtimeMs, size, ino } = statSync(file);
    return `${mtimeMs} ${size} ${ino}`;
  } catch {
    return "none";
  }
}

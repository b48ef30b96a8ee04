// The long run of random programs (`npm run test:long`). In: how many minutes (else an hour; MDL_TEST_SECONDS counts, too),
// and the folder for what is found. Out: a line for each failure of a new kind, its shrunk program in the folder, and at the
// end how many ran; exit code 1 where anything failed.
//   npm run test:long -- 30 found      MDL_TEST_SEED=123 npm run test:long
// Each batch runs in a process of its own (trial.ts), so that a crash or a hang is a failure like any other.
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { budget, firstSeed } from "../budget.ts";

const [minutes, folder = join("node_modules", ".cache", "mdl", "programs")] = process.argv.slice(2);
const seconds = budget(Number(minutes ?? 60) * 60);
const first = firstSeed(Math.floor(Date.now() / 1000) % 10_000_000);
/** Programs in one process. */
const BATCH = 20;
/** Seconds without a word after which a program hangs. */
const PATIENCE = 240;

interface Event {
  readonly event: "begin" | "end" | "shrinking";
  readonly seed: number;
  readonly status?: "agreed" | "refused" | "failed";
  readonly code?: string;
  readonly kind?: string;
  readonly message?: string;
  readonly source?: string;
  readonly compared?: number;
  readonly weak?: number;
}
interface Found {
  readonly name: string;
  readonly kind: string;
  readonly seeds: number[];
}

mkdirSync(folder, { recursive: true });
const found = new Map<string, Found>();
const count = { run: 0, agreed: 0, refused: 0, failed: 0, compared: 0, weak: 0 };
const codes: Record<string, number> = {};

function failed(seed: number, kind: string, message: string, source: string): void {
  count.failed++;
  const known = found.get(kind);
  if (known) {
    known.seeds.push(seed);
    return;
  }
  const name = `${kind.replace(/[^a-zA-Z0-9]+/g, "-").slice(0, 60)}-${seed}`;
  found.set(kind, { name, kind, seeds: [seed] });
  const repeat = `MDL_TEST_SEED=${seed} npm run test:long -- 0`;
  const comment = `kind ${kind}\nseed ${seed}: ${repeat}\n${message}`;
  writeFileSync(
    join(folder, `${name}.mdl`),
    `${source}\n${comment
      .split("\n")
      .map((l) => `// ${l}`)
      .join("\n")}\n`,
  );
  console.log(
    `\nFAILED ${kind}\n${message.slice(0, 600)}\n${source}\n${repeat}\nwritten to ${join(folder, `${name}.mdl`)}\n`,
  );
}

/** Runs programs from `seed` on; the seed to go on with. */
function batch(seed: number, size: number): Promise<number> {
  const args = [
    "scripts/run-ts.mjs",
    "test/support/programs/trial.ts",
    String(seed),
    String(size),
    JSON.stringify([...found.keys()]),
  ];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"], detached: true });
  let next = seed;
  let running: Event | undefined;
  let errors = "";
  let hung = false;
  const stop = (): void => {
    try {
      process.kill(-(child.pid as number), "SIGKILL");
    } catch {
      // It is gone.
    }
  };
  const bark = (): void => {
    hung = true;
    stop();
  };
  let dog = setTimeout(bark, PATIENCE * 1000);
  child.stderr.on("data", (text: Buffer) => {
    errors = (errors + text.toString()).slice(-2000);
  });
  createInterface({ input: child.stdout }).on("line", (line) => {
    clearTimeout(dog);
    dog = setTimeout(bark, PATIENCE * 1000);
    let e: Event;
    try {
      e = JSON.parse(line) as Event;
    } catch {
      return;
    }
    if (e.event === "begin") running = e;
    if (e.event !== "end") return;
    running = undefined;
    next = e.seed + 1;
    count.run++;
    if (e.status === "agreed") {
      count.agreed++;
      count.compared += e.compared ?? 0;
      count.weak += e.weak ?? 0;
    } else if (e.status === "refused") {
      count.refused++;
      codes[e.code as string] = (codes[e.code as string] ?? 0) + 1;
    } else failed(e.seed, e.kind as string, e.message as string, e.source as string);
  });
  return new Promise((resolve) => {
    child.on("close", (code, signal) => {
      clearTimeout(dog);
      if (running && (hung || code !== 0)) {
        count.run++;
        const what = hung ? `hang: more than ${PATIENCE} s` : `crash: ${signal ?? `exit code ${code}`}`;
        failed(running.seed, what, `${what}\n${errors}`, running.source as string);
        next = running.seed + 1;
      } else if (code !== 0 && next === seed) {
        console.log(`the process of seed ${seed} ended with ${signal ?? code}:\n${errors}`);
        next = seed + 1;
      }
      resolve(next);
    });
  });
}

const end = Date.now() + seconds * 1000;
console.log(`random programs from seed ${first} on, for ${Math.round(seconds / 60)} minutes`);
let seed = first;
do {
  const left = end - Date.now();
  seed = await batch(seed, left < 60_000 ? 1 : BATCH);
  const { run, agreed, refused, failed: bad, compared, weak } = count;
  console.log(
    `${new Date().toISOString().slice(11, 19)} seeds ${first} to ${seed - 1}: ${run} programs, ${agreed} agree (${compared} tensors compared, ${weak} too sensitive to), ${refused} refused, ${bad} failed in ${found.size} ways`,
  );
} while (Date.now() < end);
console.log(`refused by the checker: ${JSON.stringify(codes)}`);
for (const f of found.values())
  console.log(`${f.seeds.length} × ${f.kind}: ${f.name}.mdl, seeds ${f.seeds.slice(0, 8).join(", ")}`);
process.exitCode = found.size > 0 ? 1 : 0;

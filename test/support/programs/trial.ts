// Random programs one after the other, in a process of its own: a crash or a hang of a driver ends this process only.
// In: first seed, number, kinds of failure that are known. Out: a line of JSON for each program, on standard output; failures are shrunk.
//   node scripts/run-ts.mjs test/support/programs/trial.ts SEED COUNT '[KIND, …]'
import { check } from "../../../compiler/core/index.ts";
import { own } from "../adapter.ts";
import { requestTestAdapter } from "../device.ts";
import { generateProgram } from "./generate.ts";
import { type Outcome, tryProgram } from "./run.ts";
import { shrink } from "./shrink.ts";
import { targetsOf } from "./targets.ts";

const [seed, count, known] = process.argv.slice(2);
/** Kinds that were shrunk before: their programs are told as they are. */
const shrunkBefore = new Set<string>(known ? (JSON.parse(known) as string[]) : []);

const adapter = await requestTestAdapter();
if (!adapter) throw new Error("no WebGPU adapter");
const say = (event: object): void => void process.stdout.write(`${JSON.stringify(event)}\n`);

let device: GPUDevice | undefined;
async function run(source: string, on: readonly string[]): Promise<Outcome> {
  device ??= await adapter!.requestDevice({ requiredFeatures: [...adapter!.features] as GPUFeatureName[] });
  const outcome = await tryProgram({ source, device, targets: on });
  return outcome;
}

for (let k = Number(seed); k < Number(seed) + Number(count); k++) {
  const source = generateProgram(k);
  say({ event: "begin", seed: k, source });
  const started = Date.now();
  const targets = targetsOf(k, own.name);
  const outcome = await run(source, targets);
  if (outcome.status !== "failed") {
    say({ event: "end", seed: k, milliseconds: Date.now() - started, ...outcome });
    continue;
  }
  const { kind, message, target } = outcome.failure;
  const on = target === undefined ? targets.slice(0, 1) : [target];
  let small = source;
  if (!shrunkBefore.has(kind)) {
    say({ event: "shrinking", seed: k });
    small = await shrink(
      source,
      async (text) => {
        if (check(text, "shrink.mdl").diagnostics.some((d) => d.severity === "error")) return false;
        say({ event: "begin", seed: k, source: text });
        const again = await run(text, on);
        return again.status === "failed" && again.failure.kind === kind;
      },
      120,
    );
    shrunkBefore.add(kind);
  }
  const last = small === source ? outcome : await run(small, on);
  say({
    event: "end",
    seed: k,
    milliseconds: Date.now() - started,
    status: "failed",
    kind,
    target,
    message: last.status === "failed" ? last.failure.message : message,
    source: small,
  });
}
process.exit(0);

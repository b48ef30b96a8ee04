// The long run of drawn operator calls (`npm run test:long -- operators`). In: how many on the CPU (100,000 by default) and how
// many on the adapter for each target (300). Out: what differs, each operator's first; the counts; exit code 1 where anything
// does.
//   npm run test:long -- operators 50000 300      MDL_TEST_SEED=7 npm run test:long -- operators 1 0
import { targets } from "../../compiler/core/targets.ts";
import { requestGpu } from "../../runtime/core/dawn.ts";
import { firstSeed } from "./budget.ts";
import { checkDrawn, drawable, drawn, noCounts, textOf } from "./operator-cases.ts";
import { runDrawn } from "./operator-runs.ts";

const [cpu = 100_000, gpu = 300] = process.argv.slice(2).map(Number);
const first = firstSeed(Math.floor(Date.now() / 1000) % 10_000_000);
const found = new Map<string, string[]>();
function wrong(name: string, text: string): void {
  const known = found.get(name);
  if (known) known.push(text);
  else {
    found.set(name, [text]);
    console.log(`DIFFERS ${text}`);
  }
}

const counts = noCounts();
const of = new Map<string, number>();
for (let i = 0; i < cpu; i++) {
  const d = drawn(first + i);
  of.set(d.op.name, (of.get(d.op.name) ?? 0) + 1);
  try {
    checkDrawn(d, counts);
  } catch (e) {
    wrong(d.op.name, `${textOf(d)}\n  ${(e as Error).message}`);
  }
  if ((i + 1) % 10_000 === 0) console.log(`${i + 1} calls`);
}
if (cpu > 0) {
  const each = [...of.values()];
  console.log(
    `seed ${first}: ${JSON.stringify(counts)}, of ${of.size} of ${drawable.length} operators, ${Math.min(...each)} to ${Math.max(...each)} calls each`,
  );
}

/** Calls in one module. */
const BATCH = 50;
const adapter = gpu > 0 ? await (await requestGpu()).requestAdapter() : undefined;
if (gpu > 0 && !adapter) console.log("no WebGPU adapter: nothing ran on one");
if (adapter) {
  const requiredLimits = Object.fromEntries(
    Object.keys(Object.getPrototypeOf(adapter.limits)).flatMap((name) => {
      const value = (adapter.limits as unknown as Record<string, unknown>)[name];
      return typeof value === "number" ? [[name, value]] : [];
    }),
  );
  const device = await adapter.requestDevice({
    requiredFeatures: [...adapter.features] as GPUFeatureName[],
    requiredLimits,
  });
  for (const [k, target] of targets.entries()) {
    const total = { cases: 0, stored: 0, tensors: 0, elements: 0 };
    let differ = 0;
    for (let i = 0; i < gpu; i += BATCH) {
      const seed = first + k * gpu + i;
      // One batch in three is of weights in few bits.
      const draw = (i / BATCH) % 3 === 2 ? "stored" : "all";
      const outcome = await runDrawn(device, target, seed, Math.min(BATCH, gpu - i), draw);
      total.cases += outcome.cases;
      total.stored += outcome.stored;
      total.tensors += outcome.tensors;
      total.elements += outcome.elements;
      differ += outcome.wrong.length;
      for (const text of outcome.wrong)
        wrong(`${target.name} ${text.split(" ")[1]}`, `on ${target.name}: ${text}`);
    }
    console.log(`seed ${first + k * gpu} on ${target.name}: ${JSON.stringify(total)}, ${differ} differ`);
  }
  device.destroy();
}
for (const [name, list] of found) console.log(`${name}: ${list.length} of them differ`);
process.exit(found.size > 0 ? 1 : 0);

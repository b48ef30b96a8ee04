// Random programs (test/support/programs) on the targets, beside the reference evaluator: first those that once failed,
// as they were when they had been made small, then new ones for a while. `npm run test:long` goes on for as long as one likes.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { own, targets } from "../support/adapter.ts";
import { budget, firstSeed, patient, untilTimeIsUp } from "../support/budget.ts";
import { testDevice } from "../support/device.ts";
import { projectFile, projectRoot } from "../support/files.ts";
import { generateProgram } from "../support/programs/generate.ts";
import { tryProgram } from "../support/programs/run.ts";
import { targetsOf } from "../support/programs/targets.ts";

const FOLDER = join("test", "programs");

describe("programs that once failed", () => {
  for (const file of readdirSync(join(projectRoot, FOLDER)).filter((f) => f.endsWith(".mdl"))) {
    it(file, async (context) => {
      const { device } = await testDevice(context);
      const source = projectFile(join(FOLDER, file));
      // A line of its own says what is right where the checker, or the runtime, is to refuse it.
      const refusal = /^\/\/ refused (\w+)$/m.exec(source)?.[1];
      // What failed on one target only says which; a software adapter takes long for those it was not made for.
      const target = /^\/\/ target ([\w-]+)$/m.exec(source)?.[1] ?? own.name;
      const all = [...targets.map((t) => t.name), "gpu-small", "baseline-small"];
      const outcome = await tryProgram({ source, device, targets: patient ? all : [target] });
      if (outcome.status === "unfit") return context.skip(outcome.reason);
      if (refusal) expect(outcome).toMatchObject({ status: "refused", code: refusal });
      else expect(outcome).toMatchObject({ status: "agreed" });
    });
  }
});

describe("random programs", () => {
  it("agree with the reference evaluator, entries and training steps", async (context) => {
    const { device } = await testDevice(context);
    const seconds = budget(60);
    const first = firstSeed(20261125);
    const count = { agreed: 0, refused: 0, unfit: 0, compared: 0 };
    const run = await untilTimeIsUp(seconds, first, 1000, async (seed) => {
      const source = generateProgram(seed);
      const outcome = await tryProgram({ source, device, targets: targetsOf(seed, own.name) });
      if (outcome.status === "failed") {
        throw new Error(
          `${outcome.failure.message}\n\n${source}\nMDL_TEST_SEED=${seed} npm run test:long -- 0 makes it small`,
        );
      }
      count[outcome.status]++;
      if (outcome.status === "agreed") count.compared += outcome.compared;
    });
    console.log(
      `random programs: seeds ${first} to ${first + run - 1}, ${count.agreed} agree (${count.compared} tensors), ${count.refused} refused by the checker${count.unfit > 0 ? `, ${count.unfit} not for this adapter` : ""}`,
    );
    expect(count.agreed).toBeGreaterThan(0);
    expect(count.refused).toBeLessThan(Math.max(5, run / 2));
  }, 600_000);
});

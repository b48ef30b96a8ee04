// Kernels that were cut compute what the reference does, entries and training steps (test/5-fuse/fit.test.ts says that they fit).
import { describe, expect, it } from "vitest";
import { own, targets } from "../support/adapter.ts";
import { patient } from "../support/budget.ts";
import { testDevice } from "../support/device.ts";
import { tryProgram } from "../support/programs/run.ts";
import { wide } from "../support/wide.ts";

/** Few kernels each: a software adapter takes a second over each pipeline. */
const few = [
  "sums of 8, 9 and 40",
  "rows of many operands",
  "a scan that captures much",
  "starts on every axis",
];

describe("kernels that were cut", () => {
  for (const name of patient ? Object.keys(wide) : few)
    it(name, async (context) => {
      const { device } = await testDevice(context);
      const on = patient ? targets.map((t) => t.name) : [own.name];
      expect(await tryProgram({ source: wide[name], device, targets: on })).toMatchObject({
        status: "agreed",
      });
    }, 600_000);
});

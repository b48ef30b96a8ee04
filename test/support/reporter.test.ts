// The last line of a run.
import { expect, test } from "vitest";
import { summary } from "./reporter.ts";

test("counts what ran, where, and why the rest did not", () => {
  const skipped = { "no WebGPU adapter": 3, "../shared/data is missing": 1 };
  expect(summary({ cpu: 10, gpu: 4 }, skipped, 1, "llvmpipe")).toBe(
    "mdl: 14 tests ran, 4 of them on llvmpipe, 1 failed, 4 skipped (3: no WebGPU adapter; 1: ../shared/data is missing)",
  );
  expect(summary({ cpu: 2 }, {}, 0, "no GPU: no driver")).toBe(
    "mdl: 2 tests ran, 0 of them on no GPU: no driver, 0 skipped",
  );
});

// Tests run from the sources; globalSetup brings the generated files up to date first.
// Two projects: `cpu` (everything that needs no adapter) runs its files in parallel; `gpu` (test/gpu/** and *.gpu.test.ts)
// two at a time where there are cores for it: a software adapter spends most of a test file compiling pipelines, on one
// core, and only the rest of it on all of them.
import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import { AdapterReporter } from "./test/support/reporter.ts";

const gpuFiles = ["test/gpu/**/*.test.ts", "{compiler,runtime,test}/**/*.gpu.test.ts"];

export default defineConfig({
  test: {
    globalSetup: ["test/support/global-setup.ts"],
    reporters: ["default", new AdapterReporter()],
    projects: [
      {
        extends: true,
        test: {
          name: "cpu",
          include: ["{compiler,runtime,test,scripts}/**/*.test.ts"],
          exclude: ["**/node_modules/**", ...gpuFiles],
          // vitest's own default leaves a core free, which of two would be half of them.
          maxWorkers: availableParallelism(),
          testTimeout: 30_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: "gpu",
          include: gpuFiles,
          maxWorkers: Math.min(2, availableParallelism()),
          testTimeout: 240_000,
          hookTimeout: 240_000,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});

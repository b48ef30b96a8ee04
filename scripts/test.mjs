// `npm test`: bring everything there is to have (bootstrap.mjs), then check, lint and every test; the last line says how
// many tests ran on which adapter. With arguments only vitest runs, with them: `npm test -- test/dims`.
import { join } from "node:path";
import { bootstrap, root, run, temporaryFolder } from "./bootstrap.mjs";

const args = process.argv.slice(2);
const { env, adapter, reason } = bootstrap({ browser: args.length === 0 });
env.MDL_ADAPTER = JSON.stringify({ adapter, reason });
// One shader cache for the run: every process of it profits, and none from the run before, nor the user's own.
env.MESA_SHADER_CACHE_DIR = temporaryFolder("mdl-shaders-");

const tool = (...path) => join(root, "node_modules", ...path);
const steps = [{ name: "vitest", command: [tool("vitest", "vitest.mjs"), "run", ...args] }];
if (args.length === 0) {
  steps.unshift(
    { name: "check", command: [join(root, "scripts", "check.mjs")] },
    { name: "lint", command: [tool("@biomejs", "biome", "bin", "biome"), "check", "."] },
  );
}

const failed = [];
for (const { name, command } of steps) {
  if ((await run(command, env)) !== 0) failed.push(name);
}
if (failed.length > 0) {
  console.error(`npm test: failed: ${failed.join(", ")}`);
  process.exitCode = 1;
}

// `npm run test:long`: bring everything there is to have (bootstrap.mjs), then the long run of random programs
// (test/support/programs/long.ts says what it takes), or with "operators" before them that of operators' calls
// (test/support/operators-long.ts), or with "examples" every example at a small size and at full size on every target
// (test/whole/examples.gpu.test.ts; what follows goes to vitest, as in -t resnet18).
import { join } from "node:path";
import { bootstrap, root, run } from "./bootstrap.mjs";

const { env } = bootstrap();
const [first, ...rest] = process.argv.slice(2);
const own = (file) => [join(root, "scripts", "run-ts.mjs"), file];
const runs = {
  operators: () => [...own("test/support/operators-long.ts"), ...rest],
  examples: () => {
    // Any number of seconds says that somebody has the patience.
    env.MDL_TEST_SECONDS ??= "1";
    const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
    return [vitest, "run", "test/whole/examples.gpu.test.ts", ...rest];
  },
};
const chosen = Object.hasOwn(runs, first ?? "") ? runs[first]() : undefined;
process.exitCode = await run(
  chosen ?? [...own("test/support/programs/long.ts"), ...process.argv.slice(2)],
  env,
);

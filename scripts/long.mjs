// `npm run test:long`: bring everything there is to have (bootstrap.mjs), then the long run of random programs
// (test/support/programs/long.ts says what it takes), or with "operators" before them that of operators' calls
// (test/support/operators-long.ts).
import { join } from "node:path";
import { bootstrap, root, run } from "./bootstrap.mjs";

const { env } = bootstrap();
const operators = process.argv[2] === "operators";
const args = [
  join(root, "scripts", "run-ts.mjs"),
  operators ? "test/support/operators-long.ts" : "test/support/programs/long.ts",
  ...process.argv.slice(operators ? 3 : 2),
];
process.exitCode = await run(args, env);

// `npm run test:long`: bring everything there is to have (bootstrap.mjs), then the long run of random programs
// (test/support/programs/long.ts says what it takes).
import { join } from "node:path";
import { bootstrap, root, run } from "./bootstrap.mjs";

const { env } = bootstrap();
const args = [join(root, "scripts", "run-ts.mjs"), "test/support/programs/long.ts", ...process.argv.slice(2)];
process.exitCode = await run(args, env);

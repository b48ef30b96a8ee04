// `npm run bench`: bring everything there is to have (bootstrap.mjs), then run bench/main.ts.
import { join } from "node:path";
import { bootstrap, root, run } from "./bootstrap.mjs";

const { env } = bootstrap();
const args = [join(root, "scripts", "run-ts.mjs"), "bench/main.ts", ...process.argv.slice(2)];
process.exitCode = await run(args, env);

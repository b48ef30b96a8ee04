// `npm start`: bring everything there is to have (bootstrap.mjs), then run the main job with it.
import { join } from "node:path";
import { bootstrap, root, run } from "./bootstrap.mjs";

const { env } = bootstrap();
process.exitCode = await run([join(root, "scripts", "main-job.mjs"), ...process.argv.slice(2)], env);

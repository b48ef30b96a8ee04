// `npm run replay`: compiles the same models with two revisions of the compiler and says what differs (replay/main.ts).
import { rmSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { bundle } from "./run-ts.mjs";

const file = await bundle("scripts/replay/main.ts");
try {
  const { main } = await import(pathToFileURL(file).href);
  process.exitCode = await main(fileURLToPath(new URL("..", import.meta.url)), process.argv.slice(2));
} finally {
  rmSync(file, { force: true });
}

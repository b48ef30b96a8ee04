// What `npm start` and `npm test` begin with; on a fresh clone it needs Node and git and nothing else (only node:*
// imports here and in what it imports). It brings the tree to the point where anything can be run:
//   1. node_modules as package-lock.json says      (npm ci, when they differ)
//   2. dist/ as the sources say                    (npm run build, when they are newer)
//   3. a WebGPU adapter                            (Linux without one: Mesa's software driver, where we may)
//   4. Chromium, if asked for                      (Debian, where we may)
// Where everything is there already it takes a fraction of a second. It says what it does on standard error.
//   MDL_REQUIRE_GPU=1  a missing adapter is a failure (exit code 3)
//   MDL_NO_INSTALL=1   never call the system's package manager
//   MDL_CHROMIUM=FILE  the browser to test with
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { locateChromium } from "./chromium.mjs";
import { isBuilt } from "./freshness.mjs";
import { probeAdapter } from "./probe-adapter.mjs";
import { chromiumRecipe, install, softwareDriverRecipe } from "./system-packages.mjs";

export const root = fileURLToPath(new URL("..", import.meta.url));

const say = (line) => console.error(`bootstrap: ${line}`);

/** Ends the process with a message; for what cannot be gone on from. */
function fail(line, exitCode) {
  say(line);
  process.exit(exitCode);
}

/**
 * @param {{ browser?: boolean }} options
 * @returns {{ env: NodeJS.ProcessEnv, adapter?: import("./probe-adapter.mjs").Adapter, reason?: string }}
 *   the environment for child processes, and the adapter or the reason why there is none
 */
export function bootstrap(options = {}) {
  const [major] = process.versions.node.split(".").map(Number);
  if (major < 20) fail(`Node ${process.versions.node} is too old: mdl needs Node 20 or newer`, 3);
  installPackages();
  buildDist();
  const env = { ...process.env };
  if (process.platform === "linux" && !env.XDG_RUNTIME_DIR)
    env.XDG_RUNTIME_DIR = temporaryFolder("mdl-runtime-");
  const found = findAdapter(env);
  if (options.browser) env.MDL_CHROMIUM = findChromium() ?? "";
  return { env, ...found };
}

/** A private folder that goes with the process. */
export function temporaryFolder(prefix) {
  const folder = mkdtempSync(join(tmpdir(), prefix));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}

/**
 * Runs a Node program with the terminal as ours, less what Dawn prints of its own; resolves to its exit code (128 + n if
 * signal n ended it, as in a shell).
 */
export async function run(args, env = process.env) {
  const { dropChatter } = await import("../dist/runtime/node/quiet.js");
  const child = spawn(process.execPath, args, { cwd: root, env, stdio: ["inherit", "inherit", "pipe"] });
  child.stderr.setEncoding("utf8").pipe(dropChatter()).pipe(process.stderr);
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => resolve(code ?? 128 + constants.signals[signal]));
  });
}

function installPackages() {
  if (packagesAreInstalled()) return;
  say("npm ci");
  const args = ["ci", "--include=dev", "--no-fund", "--no-audit", "--loglevel=error"];
  const npm = process.env.npm_execpath;
  // Under `npm start` npm says where it is; else it is on the PATH (a .cmd on Windows, which needs a shell).
  const child = npm?.endsWith("npm-cli.js")
    ? spawnSync(process.execPath, [npm, ...args], { cwd: root, stdio: ["ignore", 2, 2] })
    : spawnSync("npm", args, { cwd: root, stdio: ["ignore", 2, 2], shell: process.platform === "win32" });
  if (child.status !== 0) fail("npm ci failed", 3);
}

/** Whether node_modules holds the versions of package-lock.json; what is optional there may be missing. */
function packagesAreInstalled() {
  const installed = join(root, "node_modules", ".package-lock.json");
  if (!existsSync(installed)) return false;
  const have = JSON.parse(readFileSync(installed, "utf8")).packages;
  const want = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
  return Object.entries(want).every(([path, entry]) => {
    if (path === "" || (entry.optional && !have[path])) return true;
    return have[path]?.version === entry.version && existsSync(join(root, path));
  });
}

function buildDist() {
  if (isBuilt(root)) return;
  say("npm run build");
  const build = spawnSync(process.execPath, [join(root, "scripts", "build.mjs")], {
    cwd: root,
    stdio: ["ignore", 2, 2],
  });
  if (build.status !== 0) fail("the build failed", 1);
}

/** Mesa's software driver before this version is too old for Dawn's use of it. */
const OLDEST_MESA = 23;

function findAdapter(env) {
  let found = probeAdapter(env);
  const outdated = found.adapter?.software && found.adapter.mesa < OLDEST_MESA;
  if (!found.adapter || outdated) {
    say(outdated ? `${found.adapter.name} is too old` : found.reason);
    const recipe = softwareDriverRecipe();
    if (recipe && install(recipe, say)) found = probeAdapter(env);
    else if (!recipe) say("install a Vulkan driver for your GPU, or Mesa's software driver (lavapipe)");
  }
  if (found.adapter) return found;
  if (process.env.MDL_REQUIRE_GPU === "1") fail(`${found.reason}, and MDL_REQUIRE_GPU=1`, 3);
  say(`going on without a GPU: ${found.reason}`);
  return found;
}

function findChromium() {
  const there = locateChromium();
  if (there) return there;
  const recipe = chromiumRecipe();
  if (recipe && install(recipe, say)) return locateChromium();
  say("no Chromium: the browser tests will be skipped");
  return undefined;
}

// Brings the packages of bench/package.json into bench/node_modules, where they are asked for and not there: 0.8 GB that no
// user of the compiler needs. In: the tree. Out: why they are not there, or nothing.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../paths.ts";

const folder = join(root, "bench");

interface Lock {
  readonly packages: Readonly<Record<string, { readonly version?: string; readonly optional?: boolean }>>;
}
const lock = (path: string): Lock["packages"] => (JSON.parse(readFileSync(path, "utf8")) as Lock).packages;

/** Whether what is installed is what the lock file says. */
function areInstalled(): boolean {
  const installed = join(folder, "node_modules", ".package-lock.json");
  if (!existsSync(installed)) return false;
  const have = lock(installed);
  return Object.entries(lock(join(folder, "package-lock.json"))).every(
    ([path, { version, optional }]) =>
      path === "" || (optional && !have[path]) || have[path]?.version === version,
  );
}

export function installPeers(say: (line: string) => void): string | undefined {
  if (areInstalled()) return undefined;
  say("npm ci in bench/ (the peers, once)");
  // Scripts of theirs would fetch more, for devices that are not used here.
  const args = ["ci", "--ignore-scripts", "--no-fund", "--no-audit", "--loglevel=error"];
  const npm = process.env["npm_execpath"];
  const options = { cwd: folder, stdio: ["ignore", 2, 2] as ["ignore", 2, 2] };
  const { status } = npm?.endsWith("npm-cli.js")
    ? spawnSync(process.execPath, [npm, ...args], options)
    : spawnSync("npm", args, { ...options, shell: process.platform === "win32" });
  return status === 0 ? undefined : "the peers could not be installed: npm ci in bench/ failed";
}

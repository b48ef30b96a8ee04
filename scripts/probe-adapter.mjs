// A process of its own that asks Dawn for an adapter and a device and prints what it found as JSON. It is a child
// process so that a driver that crashes takes only the question with it, and so that what Dawn and Mesa print is heard
// by whoever asks and by nobody else. `probeAdapter()` is the asking side.
import { spawnSync } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";

/**
 * @typedef {{ name: string, software: boolean, mesa: number | undefined }} Adapter `mesa` is its major version.
 * @param {NodeJS.ProcessEnv} env
 * @returns {{ adapter: Adapter, reason?: undefined } | { adapter?: undefined, reason: string }}
 */
export function probeAdapter(env = process.env) {
  const child = spawnSync(process.execPath, [fileURLToPath(import.meta.url)], {
    env,
    encoding: "utf8",
    timeout: 60_000,
  });
  if (child.status === 0) {
    const { name, software } = JSON.parse(child.stdout);
    const mesa = /Mesa (\d+)\./.exec(name)?.[1];
    return { adapter: { name, software, mesa: mesa && Number(mesa) } };
  }
  if (child.status === 2) return { reason: child.stdout.trim() };
  return {
    reason: `Dawn ended with ${child.signal ?? `exit code ${child.status}`}: ${lastLine(child.stderr)}`,
  };
}

const lastLine = (text) => text.trim().split("\n").at(-1) ?? "";

async function main() {
  const require = createRequire(import.meta.url);
  let dawn;
  try {
    dawn = await import(pathToFileURL(require.resolve("webgpu")).href);
  } catch (error) {
    console.log(`the package webgpu (Dawn) cannot be loaded: ${error.message.split("\n")[0]}`);
    process.exitCode = 2;
    return;
  }
  const gpu = dawn.create([]);
  globalThis.gpu = gpu; // dropping the instance would abort the process
  const adapter = await gpu.requestAdapter();
  if (!adapter) {
    console.log("no WebGPU adapter");
    process.exitCode = 2;
    return;
  }
  const { description, device, isFallbackAdapter } = adapter.info;
  await adapter.requestDevice();
  console.log(JSON.stringify({ name: description || device, software: isFallbackAdapter }));
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await main();

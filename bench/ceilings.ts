// What the device does at most, for the report: measured as `mdl profile` does, in a process of its own, which may hang and end
// by itself. In: nothing. Out: rates, or nothing where there is no device.
import { spawnSync } from "node:child_process";
import { type Ceilings, measureCeilings } from "../compiler/cli/profile/ceilings.ts";
import { isSoftwareAdapter, requestExactGpu } from "../runtime/node/index.ts";
import { program, root } from "./paths.ts";

export const CEILINGS_WORKER = "--ceilings-worker";

export function ceilings(): Ceilings | undefined {
  const { status, stdout } = spawnSync(process.execPath, [...process.execArgv, program, CEILINGS_WORKER], {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
    timeout: 60_000,
  });
  return status === 0 ? (JSON.parse(stdout) as Ceilings) : undefined;
}

export async function ceilingsWork(): Promise<void> {
  const adapter = await (await requestExactGpu()).requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new Error("there is no adapter");
  const { features, limits } = adapter;
  const { maxBufferSize, maxStorageBufferBindingSize } = limits;
  const device = await adapter.requestDevice({
    requiredFeatures: features.has("timestamp-query") ? ["timestamp-query"] : [],
    requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
  });
  process.stdout.write(JSON.stringify(await measureCeilings(device, isSoftwareAdapter(adapter.info))));
  device.destroy();
}

// A Dawn for those who time kernels. In: a process that has no Dawn yet. Out: its GPU, whose timestamps are as fine as the
// device's; modules that are loaded later find the same.
import { startDawn } from "../core/node.ts";

/** Dawn cuts timestamps to steps of 65 µs where nobody asks for finer ones: a page may not tell by them what else runs. */
const EXACT = ["disable-dawn-features=timestamp_quantization"];

/**
 * The process's Dawn, with `features` (Dawn's own toggles: `allow_unsafe_apis`) beside. Rejects with an UnsupportedError.
 */
export const requestExactGpu = (features: readonly string[] = []): Promise<GPU> =>
  startDawn(features.length > 0 ? [...EXACT, `enable-dawn-features=${features.join(",")}`] : EXACT);

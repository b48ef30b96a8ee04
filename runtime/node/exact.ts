// A Dawn for those who time kernels. In: a process that has no Dawn yet. Out: its GPU, whose timestamps are as fine as the
// device's; modules that are loaded later find the same.
import { startDawn } from "../core/node.ts";

/** Dawn cuts timestamps to steps of 65 µs where nobody asks for finer ones: a page may not tell by them what else runs. */
const EXACT = ["disable-dawn-features=timestamp_quantization"];

/** The process's Dawn. Rejects with an UnsupportedError. */
export const requestExactGpu = (): Promise<GPU> => startDawn(EXACT);

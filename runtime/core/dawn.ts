// Where a module's GPU comes from when it is not handed in: navigator.gpu, else (in Node) Dawn. In: nothing but the host's
// globals. Out: a GPU, or an UnsupportedError that says how to get one.
import { UnsupportedError } from "./errors.ts";
import { startDawn } from "./node.ts";

export { pollPolitely } from "./node.ts";
export { isSoftwareAdapter } from "./software.ts";

/** The host's GPU: navigator.gpu, else Dawn in Node. Rejects with an UnsupportedError. */
export async function requestGpu(): Promise<GPU> {
  const { navigator, process } = globalThis as unknown as {
    readonly navigator?: { readonly gpu?: GPU };
    readonly process?: { readonly versions?: { readonly node?: string } };
  };
  if (navigator?.gpu) return navigator.gpu;
  if (process?.versions?.node) return startDawn();
  throw new UnsupportedError(
    "no-webgpu",
    "this browser has no WebGPU: use a recent Chrome, Edge, Firefox or Safari on an https page",
  );
}

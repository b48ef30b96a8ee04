// Everything that can be timed, the product first: ratios are of the others to it. A peer is one file and one line here.
import { hand } from "./hand.ts";
import { mdl, mdlF16, mdlOf, REVISION } from "./mdl.ts";
import { peers } from "./peers.ts";
import type { System } from "./system.ts";
import { torchCpu, torchCuda, torchCudaF16 } from "./torch.ts";

export const systems: readonly System[] = [mdl, mdlF16, ...peers, torchCpu, torchCuda, torchCudaF16, hand];

/** By its name; in a process of its own one of another revision needs no compiler. */
export const systemOf = (name: string): System =>
  name.startsWith(REVISION) ? mdlOf(name, undefined) : systems.find((s) => s.name === name)!;

// The runtime without its training part: what a module inlines whose entries only infer.
import type * as api from "./api.ts";
import { loadWith } from "./load.ts";
import type { Net } from "./net.ts";
import type { Artefact, Packed } from "./program.ts";

export * from "./exports.ts";

export const load = (artefact: Artefact | Packed, options?: api.LoadOptions): Promise<Net> =>
  loadWith(artefact, options, {});

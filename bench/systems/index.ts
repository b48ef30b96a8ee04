// Everything that can be timed, the product first: ratios are of the others to it. A peer is one file and one line here.
import { hand } from "./hand.ts";
import { mdl } from "./mdl.ts";
import type { System } from "./system.ts";

export const systems: readonly System[] = [mdl, hand];

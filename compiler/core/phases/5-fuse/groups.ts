export { decode, rowMajor } from "../../kernel/coordinates.ts";
export { loweringFor, lowerValue } from "../../kernel/values.ts";
export { fuse } from "./fuse.ts";
export type { FuseOptions } from "./partition.ts";
export type { Fused, Region as Group, RegionKind as GroupKind } from "./region.ts";

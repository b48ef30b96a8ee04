// The kernel families, in the order they are asked. A new one is a file and a line here.
import { attentionFamily } from "./attention/forward.ts";
import { attentionGradFamily } from "./attention/gradient.ts";
import { matrixFamily } from "./contraction/matrix.ts";
import { subgroupFamily } from "./contraction/subgroup.ts";
import { tileFamily } from "./contraction/tile.ts";
import { vectorFamily } from "./contraction/vector.ts";
import { winogradFamily, winogradFilterFamily } from "./contraction/winograd.ts";
import type { Family } from "./family.ts";
import { mapFamily } from "./map.ts";
import { prefixFamily } from "./prefix.ts";
import { rowsFamily } from "./rows/rows.ts";
import { tapsFamily } from "./rows/taps.ts";
import { scatterFamily } from "./scatter.ts";
import { putFamily, sortFamily } from "./sort.ts";
import { stripFamily } from "./strip.ts";

export const families: readonly Family[] = [
  attentionFamily,
  attentionGradFamily,
  prefixFamily,
  scatterFamily,
  sortFamily,
  putFamily,
  tapsFamily,
  stripFamily,
  vectorFamily,
  winogradFilterFamily,
  winogradFamily,
  subgroupFamily,
  matrixFamily,
  tileFamily,
  rowsFamily,
  // Computes every group that is one value a thread.
  mapFamily,
];

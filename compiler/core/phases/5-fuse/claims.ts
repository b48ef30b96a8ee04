// Step: what is a kernel, or a trick of storage, by itself: loops, packs, and composites that a kernel family takes whole.
import { InternalError } from "../../diagnostics/index.ts";
import type { Partition } from "./partition.ts";

export function claim(p: Partition): void {
  for (const n of p.nodes) {
    const { fuses } = n.op;
    const claimed = fuses === "composite" && p.options.claims?.(n);
    if (fuses === "control" || fuses === "pack" || claimed) {
      const g = p.create(fuses === "composite" ? "claimed" : fuses, n);
      // A claimed operator reads its operands many times, as a contraction does.
      if (g.kind === "claimed") p.anchors.add(n);
      g.roots = [...n.outs];
      for (const r of g.roots) p.home.set(r, g);
    } else if (fuses === "composite") throw new InternalError("fuse", `${n.op.name} was not expanded`);
  }
}

// One kernel per group, by family. In: a fused group with layouts and a target. Out: Scheduled.
import { InternalError } from "../../diagnostics/index.ts";
import type { Node } from "../../ir/types.ts";
import type { Group } from "../5-fuse/groups.ts";
import { attentionFits, scheduleAttention } from "./attention.ts";
import { attentionGradFits, scheduleAttentionGrad } from "./attention-grad.ts";
import type { ScheduleContext, Scheduled } from "./common.ts";
import { scheduleContraction } from "./contraction.ts";
import { scheduleMap } from "./map.ts";
import { scheduleRows } from "./rows.ts";

export function scheduleGroup(ctx: ScheduleContext, g: Group): Scheduled {
  switch (g.kind) {
    case "map":
      return scheduleMap(ctx, g);
    case "rows":
      return scheduleRows(ctx, g);
    case "contraction":
      return scheduleContraction(ctx, g);
    case "claimed":
      return attentionGradFits(g.anchor) ? scheduleAttentionGrad(ctx, g) : scheduleAttention(ctx, g);
    default:
      throw new InternalError("schedule", `no kernel family for ${g.anchor.op.name}`);
  }
}

/** Composites that are one kernel on targets with `fusedAttention`. */
export const claimsAttention = (node: Node): boolean => attentionFits(node) || attentionGradFits(node);

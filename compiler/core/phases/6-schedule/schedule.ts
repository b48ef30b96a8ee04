// One kernel per group, by family. In: a fused group with layouts and a target. Out: Scheduled.
import { InternalError } from "../../diagnostics/index.ts";
import type { Group } from "../5-fuse/groups.ts";
import { scheduleAttention } from "./attention.ts";
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
      return scheduleAttention(ctx, g);
    default:
      throw new InternalError("schedule", `no kernel family for ${g.anchor.op.name}`);
  }
}

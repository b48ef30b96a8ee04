// Equal groups are scheduled once, whichever layer they are in, and whichever target they are for, as far as it would have
// answered alike what was asked of it. In: a group, as its kernels see it. Out: Launches: those of an equal one before it, on
// this one's values: the same kernel code, bound otherwise. Equal is: the same operators on operands of the same types that lie
// alike, down to what is read from buffers. So are the author's names for these, which every layer of a kind has alike: a
// kernel says nobody else's.
import { InternalError } from "../../diagnostics/index.ts";
import { attrsText, opKey, typeText } from "../../ir/build.ts";
import type { Node, Value } from "../../ir/types.ts";
import { bufferName } from "../../kernel/emitter.ts";
import { type Launch, type Launches, temporary } from "../../kernel/launch.ts";
import { isStoredFor, type Region, trains } from "../../regions/region.ts";
import type { Laid } from "../6-layout/layout.ts";
import { ForTargets } from "./asked.ts";
import { groupName } from "./common.ts";
import { isMinor } from "./contraction/minor.ts";
import type { ScheduleContext } from "./family.ts";

interface Seen {
  readonly text: string;
  /** What kernels of the group bind, in the order of the text. */
  readonly values: readonly Value[];
}

/** A text that is equal for equal groups. Undefined where a kernel stores in a place that the group does not say. */
function seen(ctx: ScheduleContext, laid: Laid, g: Region): Seen | undefined {
  // Families choose otherwise in a training step (contraction/split.ts).
  const step = trains(ctx.fused) ? "trains" : "";
  const minor = isMinor(ctx.fused, g) ? "minor" : "";
  const half = ctx.half ? "half" : "";
  const parts: string[] = [g.kind, g.derived ? "derived" : "", step, minor, half, groupName(g)];
  const values = new Map<Value, number>();
  const nodes = new Map<Node, number>();
  const packed = ctx.packed.get(g);
  /** A value that a kernel binds: how it is typed and lies. */
  const bound = (v: Value): string => {
    let at = values.get(v);
    if (at === undefined) {
      at = values.size;
      values.set(v, at);
      parts.push(`${bufferName(v)}: ${typeText(v.type)}@${ctx.layouts.text(v)}`);
    }
    return `v${at}`;
  };
  const read = (v: Value): string => {
    const better = packed?.get(v);
    if (better) return bound(better);
    if (!v.node.op.lower || isStoredFor(ctx.fused.home, g, v)) return bound(v);
    return `${computed(v.node)}.${v.index}`;
  };
  const computed = (n: Node): string => {
    let at = nodes.get(n);
    if (at === undefined) {
      const operands = n.inputs.map(read).join();
      at = nodes.size;
      nodes.set(n, at);
      parts.push(`${opKey(n.op)}(${operands})${attrsText(n.attrs)}`);
    }
    return `n${at}`;
  };
  parts.push(computed(g.anchor));
  const filter = ctx.filters.get(g);
  if (filter) parts.push(`by ${bound(filter.value)}${filter.spare ? ", or not" : ""}`);
  for (const r of g.roots) {
    const place = ctx.placing?.buffer(r) ?? r;
    // Into a slice of what a loop emits.
    if (place !== r && laid.inPlace.get(r) !== place) return undefined;
    const rows = g.rows?.get(r)?.join() ?? "";
    parts.push(`${computed(r.node)}.${r.index} rows ${rows} is ${bound(r)} in ${bound(place)}`);
  }
  return { text: parts.join("\n"), values: [...values.keys()] };
}

interface Made {
  readonly launches: Launches;
  readonly values: readonly Value[];
}
/** What has been scheduled, for all targets. */
export class Schedules {
  private readonly known = new Map<string, ForTargets<Made>>();
  /** Targets may share a group. */
  private readonly texts = new Map<Region, Seen | undefined>();

  launches(ctx: ScheduleContext, laid: Laid, g: Region, make: (ctx: ScheduleContext) => Launches): Launches {
    if (!this.texts.has(g)) this.texts.set(g, seen(ctx, laid, g));
    const own = this.texts.get(g);
    if (!own) return make(ctx);
    const known = this.known.get(own.text) ?? new ForTargets<Made>();
    this.known.set(own.text, known);
    const { values } = own;
    const made = known.of(ctx.target, (target) => ({ launches: make({ ...ctx, target }), values }));
    return made.values === values ? made.launches : moved(made.launches, made.values, values, g);
  }
}

/** Launches on other values; what they leave for each other is theirs alone. */
function moved(made: Launches, from: readonly Value[], to: readonly Value[], g: Region): Launches {
  const map = new Map(from.map((v, i) => [v, to[i]]));
  const temporaries = made.temporaries.map((t) => {
    const own = temporary(t.node.label ?? "", t.type.dtype, t.type.shape, g.anchor);
    map.set(t, own);
    return own;
  });
  const nowOf = (v: Value): Value => {
    const now = map.get(v);
    if (!now)
      throw new InternalError(
        "schedule",
        `${v.node.op.name} is bound, and no operand of ${g.anchor.op.name}`,
      );
    return now;
  };
  const list = made.list.map((l): Launch => {
    return { ...l, buffers: l.buffers.map((b) => ({ ...b, value: nowOf(b.value) })) };
  });
  return { list, temporaries };
}

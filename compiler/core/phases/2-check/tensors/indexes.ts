// Which elements of an entry's inputs are used as indices, and of what: followed back from each use through what only moves
// elements (views, casts between integers, the slices of a scan). In: what the nodes of a trace use. Out: ranges that a
// call can check in the data it is given. What is computed on the way (clamped, added to, chosen) ends the search: then the
// operators' own meaning of an index outside is all there is.
import { add as addDims, asConst, type Dim, sub } from "../../../dims/dim.ts";
import type { Indexing } from "../../../ir/build.ts";
import type { IndexRange, Node, Part, Value } from "../../../ir/types.ts";
import { isWhole, literalOf, wholePart } from "../../../ops/define.ts";
import { type Ctx, report, type SliceOf, type Trace } from "../values/context.ts";

/** An index that the text states is inside: decided, refused, or left to be checked at the call. */
export function checkLiterals(ctx: Ctx, trace: Trace): void {
  for (const { value, extent, except, use, origin } of trace.indexings()) {
    const index = literalOf(value);
    if (index === undefined || index === except || !origin.span) continue;
    const room = sub(extent, addDims(index, 1));
    const left = asConst(room);
    if (index < 0 || (left !== undefined && left < 0)) {
      const size = asConst(extent);
      const expected = size === undefined ? "from 0 on" : size > 0 ? `0 to ${size - 1}` : "none";
      report(ctx, "E0306", `the index ${index} is outside: expected ${expected} (${use})`, origin.span, {
        path: origin.path,
        calls: origin.calls,
      });
    } else if (left === undefined && !trace.constraints().some((c) => sub(c.left, c.right).key === room.key))
      trace.b.require({
        left: extent,
        relation: ">=",
        right: addDims(index, 1),
        message: `the index ${index} (${use})`,
        span: origin.span,
      });
  }
}

const STEPS_MOST = 10_000;

export function indexRanges(
  indexings: readonly Indexing[],
  inputs: readonly Node[],
  slices: ReadonlyMap<Node, SliceOf>,
): readonly IndexRange[] {
  const found = new Map<string, IndexRange>();
  const add = (range: IndexRange): void => {
    const { input, extent, except, part } = range;
    const places = part?.map((p) => `${p.start.key}:${p.size.key}:${p.step}`).join();
    const key = `${input} ${extent.key} ${except} ${places}`;
    if (!found.has(key)) found.set(key, range);
  };
  for (const { value, origin: _, ...use } of indexings) {
    const open: { value: Value; part: Part; except?: number }[] = [
      { value, part: wholePart(value.type.shape), except: use.except },
    ];
    for (let steps = 0; open.length > 0 && steps < STEPS_MOST; steps++) {
      const { value: v, part, except } = open.pop() as (typeof open)[number];
      const { node } = v;
      const slice = slices.get(node);
      if (slice) {
        const all = wholePart([slice.sequence.type.shape[slice.axis] as Dim]);
        open.push({
          value: slice.sequence,
          part: [...part.slice(0, slice.axis), ...all, ...part.slice(slice.axis)],
          except,
        });
      } else if (inputs.includes(node)) {
        const rest = isWhole(part, v.type.shape) ? {} : { part };
        add({ ...use, ...(except === undefined ? {} : { except }), ...rest, input: String(node.attrs.name) });
      } else
        for (const from of node.op.comesFrom?.(node, part) ?? []) {
          // One number may stand outside, not two.
          if (except !== undefined && from.except !== undefined && except !== from.except) continue;
          open.push({ value: node.inputs[from.operand], part: from.part, except: except ?? from.except });
        }
    }
  }
  return [...found.values()];
}

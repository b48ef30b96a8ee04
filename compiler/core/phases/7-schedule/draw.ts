// Workgroups that draw what they compute. A software adapter gives each of its threads a stretch of a dispatch, half of it where
// there are two, and waits for the last of them: a core that something else slows down holds up all. A kernel that draws is run
// by some workgroups, each of which takes the next tile as often as there is one, so that a slow core takes fewer. In: the
// routines of a program. Out: the same, where kernels that take long for each of their workgroups draw.
import { asConst, dim } from "../../dims/dim.ts";
import { type Block, eachBlock } from "../../ir/blocks.ts";
import { type Data, literalData } from "../../ir/data.ts";
import type { Node, Value } from "../../ir/types.ts";
import type { BufferSlot, KernelCode, Stmt } from "../../kernel/code.ts";
import { freshValue, mapLaunches, type Routine } from "../../kernel/launch.ts";
import { constant } from "../../ops/source.ts";
import { limitOf, subgroupOf, type Target } from "../../targets.ts";
import { nominal } from "./contraction/minor.ts";

/** Operations of a workgroup from which it pays: to draw takes as long as some hundreds. */
const LEAST = 2 ** 14;
/**
 * What they count in: 0 between dispatches, so that one serves all kernels of a module. A tensor by itself, where a zero of the
 * model's is another.
 */
export const COUNTER: Data = { ...literalData("u32", [0]) };

/** `look` is shown every kernel that is made. */
export function drawWorkgroups(
  routines: readonly Block<Routine>[],
  target: Target,
  look?: (code: KernelCode) => void,
): readonly Block<Routine>[] {
  if (target.ways === 1) return routines;
  const work = new Map<KernelCode, number>();
  for (const routine of routines)
    for (const { own } of eachBlock(routine))
      for (const { code, cost, groups } of own.steps.flatMap((s) =>
        s.kind === "launch" ? s.launches.list : [],
      )) {
        const alone = asConst(groups) === 1;
        const each = alone ? 0 : nominal(cost) / Math.max(1, nominal(groups));
        work.set(code, Math.max(work.get(code) ?? 0, each));
      }
  const instead = new Map<KernelCode, KernelCode>();
  for (const [code, each] of work) {
    if (each < LEAST || !canDraw(code, target)) continue;
    const drawing = withDraws(code);
    instead.set(code, drawing);
    look?.(drawing);
  }

  let counter: Value | undefined;
  return mapLaunches(routines, (l) => {
    const code = instead.get(l.code);
    if (!code) return l;
    counter ??= counterFor(l.buffers[0].value.node);
    return { ...l, code, buffers: [...l.buffers, { value: counter, access: "read_write" }] };
  });
}

/**
 * One thread draws for all of a subgroup, which is a workgroup, and none of them leaves before the others, or waits for them: the
 * language has barriers only where it sees that all threads come by.
 */
function canDraw(code: KernelCode, target: Target): boolean {
  const returns = (list: readonly Stmt[]): boolean =>
    list.some((s) => s.k === "return" || ((s.k === "if" || s.k === "for") && returns(s.body)));
  return (
    code.subgroups &&
    code.workgroup === subgroupOf(target) &&
    code.shared.length === 0 &&
    code.buffers.length < limitOf(target, "maxStorageBuffersPerShaderStage") &&
    !returns(code.body)
  );
}

/** The kernel, drawing. */
function withDraws(code: KernelCode): KernelCode {
  const draws: BufferSlot = {
    type: { dtype: "u32", shape: [dim(1)] },
    dtype: "u32",
    name: "drawn",
    access: "read_write",
    wide: false,
  };
  return { ...code, buffers: [...code.buffers, draws], draws };
}

const counterFor = (from: Node): Value =>
  freshValue(constant, { data: COUNTER }, { dtype: "u32", shape: [dim(1)] }, "drawn", from);

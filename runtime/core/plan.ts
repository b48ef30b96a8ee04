// Evaluates a plan for given sizes. In: a block of steps and the values of its names. Out: a flat list of commands with
// byte ranges, grids and uniform blocks: what is the same for every call of these sizes. Touches no GPU.
import { layOut, spansOf } from "./arena.ts";
import { bug, InputError, LimitError, type MdlRuntimeError } from "./errors.ts";
import { evaluateRows, type Names } from "./expr.ts";
import type { Block, BufferName, Check, EntryPlan, Port, Program, Range } from "./program.ts";
import { alignTo, typeText } from "./tensor.ts";

/** A Range with its numbers. */
export interface Bytes {
  readonly buffer: BufferName;
  readonly offset: number;
  readonly bytes: number;
}
export interface DispatchCommand {
  readonly kind: "dispatch";
  readonly kernel: number;
  readonly bind: readonly Bytes[];
  /** Where its uniform block begins in the plan's uniform buffer. */
  readonly block: number;
  readonly groups: number;
  readonly x: number;
  readonly y: number;
  readonly cost: number;
  readonly label: string;
}
export interface CopyCommand {
  readonly kind: "copy";
  readonly from: Bytes;
  readonly to: Bytes;
  readonly label: string;
}
export interface ClearCommand {
  readonly kind: "clear";
  readonly range: Bytes;
  readonly label: string;
}
export type Command = DispatchCommand | CopyCommand | ClearCommand;

export interface BoundPort {
  readonly port: Port;
  readonly shape: readonly number[];
  readonly range: Bytes;
}
export interface BoundPlan {
  readonly commands: readonly Command[];
  /** All uniform blocks, one after the other. */
  readonly uniforms: Uint32Array<ArrayBuffer>;
  readonly arenaBytes: number;
}
export interface BoundEntry extends BoundPlan {
  readonly inputs: readonly BoundPort[];
  readonly outputs: readonly BoundPort[];
  readonly implicit: readonly Bytes[];
}

/** What of the device a plan depends on. */
export interface PlanLimits {
  readonly maxComputeWorkgroupsPerDimension: number;
  readonly minUniformBufferOffsetAlignment: number;
  readonly maxStorageBufferBindingSize: number;
  /** Estimated operations of a dispatch, at most: a longer one is cut, since systems end what keeps a GPU for seconds. */
  readonly maxDispatchCost: number;
}

const COMMANDS_MOST = 2_000_000;

export function bindBlock(
  program: Program,
  entry: Pick<EntryPlan, "body" | "slots"> & Partial<EntryPlan>,
  names: Names,
  limits: PlanLimits,
): BoundPlan & { readonly at: (range: Range, label: string) => Bytes } {
  const { body, slots } = entry;
  const commands: Command[] = [];
  const words: number[] = [];
  const blocks = new Map<string, number>();
  const stride = limits.minUniformBufferOffsetAlignment / 4;

  // Blocks that hold the same words are one: the layers of a network often are alike.
  const uniformBlock = (block: readonly number[], label: string): number => {
    const key = block.join();
    const known = blocks.get(key);
    if (known !== undefined) return known;
    const at = words.length;
    for (const word of block) {
      if (!(word >= -0x80000000 && word <= 0xffffffff)) throw tooLarge(label, word);
      words.push(word);
    }
    while (words.length % stride) words.push(0);
    blocks.set(key, at * 4);
    return at * 4;
  };

  const values = evaluateRows(body.exprs, names, []);
  const { starts, total: arenaBytes } = layOut(
    spansOf(entry),
    slots.map((id) => need(values[id], "the arena")),
  );
  const bytesOf = (
    { buffer, slot, offset, bytes }: Range,
    values: readonly number[],
    label: string,
  ): Bytes => ({
    buffer,
    offset: need((slot === undefined ? 0 : starts[slot]) + values[offset], label),
    bytes: need(values[bytes], label),
  });

  const run = (block: Block, values: readonly number[], names: Names): void => {
    for (const step of block.steps) {
      const label =
        step.kind === "dispatch" ? `${program.kernels[step.kernel].name} ${step.site}`.trim() : step.label;
      if (commands.length > COMMANDS_MOST)
        throw new LimitError("limit", `${label}: more than ${COMMANDS_MOST} steps`);
      if (step.kind === "loop") {
        const inner = new Map(names);
        for (let i = 0; i < values[step.count]; i++) {
          inner.set(step.symbol, i);
          run(step.body, evaluateRows(step.body.exprs, inner, values), inner);
        }
        continue;
      }
      if (step.kind === "clear") {
        const range = bytesOf(step.range, values, label);
        if (range.bytes > 0) commands.push({ kind: "clear", range, label });
        continue;
      }
      if (step.kind === "copy") {
        const from = bytesOf(step.from, values, label);
        if (from.bytes > 0) commands.push({ kind: "copy", from, to: bytesOf(step.to, values, label), label });
        continue;
      }
      const groups = values[step.groups];
      if (Number.isNaN(groups)) throw unknownSize(label);
      if (groups <= 0) continue;
      const most = limits.maxComputeWorkgroupsPerDimension;
      if (Math.ceil(groups / most) > most) {
        const can = most ** 2;
        throw new LimitError("limit", `${label}: ${groups} workgroups; this device runs ${can} at most`);
      }
      const bind = step.bind.map((range) => bytesOf(range, values, label));
      for (const { bytes } of bind) {
        if (alignTo(bytes, 16) <= limits.maxStorageBufferBindingSize) continue;
        throw new LimitError(
          "limit",
          `${label}: a tensor of ${bytes} bytes; this device binds ${limits.maxStorageBufferBindingSize} at most`,
        );
      }
      const words = step.uniforms.map((id) => values[id]);
      const cost = step.cost === undefined ? 0 : values[step.cost];
      const size = Math.ceil(
        groups / Math.max(1, Math.min(groups, Math.ceil(cost / limits.maxDispatchCost))),
      );
      for (let first = 0; first < groups; first += size) {
        const own = Math.min(size, groups - first);
        const run = Math.min(own, program.kernels[step.kernel].draws ?? own);
        const y = Math.ceil(run / most);
        commands.push({
          kind: "dispatch",
          kernel: step.kernel,
          bind,
          block: uniformBlock([first + own, ...words, first], label),
          groups: own,
          x: Math.ceil(run / y),
          y,
          cost: (cost / groups) * own,
          label,
        });
      }
    }
  };
  run(body, values, names);
  // The last block may be bound with a kernel's whole uniform struct, rounded up to 16 bytes.
  const largest = Math.max(0, ...program.kernels.map((k) => k.uniformWords)) + 4;
  const uniforms = new Uint32Array(words.length + largest);
  // Words are i32 or u32: modulo 2^32 they are the same bits.
  words.forEach((word, i) => {
    uniforms[i] = word;
  });
  return { commands, uniforms, arenaBytes, at: (range, label) => bytesOf(range, values, label) };
}

export function bindEntry(program: Program, entry: EntryPlan, names: Names, limits: PlanLimits): BoundEntry {
  const values = evaluateRows(entry.body.exprs, names, []);
  for (const check of entry.checks) verify(check, values);
  const { at, ...plan } = bindBlock(program, entry, names, limits);
  const port = (p: Port): BoundPort => ({
    port: p,
    shape: p.shape.map((id) => need(values[id], `${entry.name}: ${typeText(p.dtype, p.shapeText)}`)),
    range: at(p.range, p.name),
  });
  return {
    ...plan,
    inputs: entry.inputs.map(port),
    outputs: entry.outputs.map(port),
    implicit: entry.implicit.map((i) => at(i.range, i.name)),
  };
}

function verify({ left, relation, right, message }: Check, values: readonly number[]): void {
  const [a, b] = [values[left], values[right]];
  const holds = relation === "==" ? a === b : relation === ">=" ? a >= b : a % b === 0;
  if (!holds) throw new InputError("constraint", `${message} (${a} and ${b} here)`);
}

function need(value: number, label: string): number {
  if (!(value >= 0)) throw unknownSize(label);
  return value;
}
const unknownSize = (label: string): MdlRuntimeError => bug(`${label}: a size has no value`);
const tooLarge = (label: string, value: number): LimitError =>
  new LimitError("limit", `${label}: a size of ${value} does not fit into 32 bits`);

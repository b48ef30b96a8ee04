/**
 * The children of any node, in the order of the text. In: a node. Out: the nodes directly below it. Separate
 * because comments, depth, dumps and tests all go over trees without caring for kinds.
 */
import type { Ident, Node, Target } from "./ast.ts";

/** Fields that hold no nodes. */
const skipped = new Set(["kind", "span", "opSpan", "trivia", "doc", "segments"]);

export function childrenOf(node: Node): Node[] {
  const out: Node[] = [];
  for (const [key, value] of Object.entries(node)) {
    if (typeof value !== "object" || value === null || skipped.has(key)) continue;
    // Not by spreading: a list may have more elements than a call may have arguments.
    if (Array.isArray(value)) for (const item of value as Node[]) out.push(item);
    else out.push(value as Node);
  }
  return out.sort((a, b) => a.span.start - b.span.start);
}

/** The names that a target binds, in the order of the text. */
export const namesOf = (target: Target): readonly Ident[] =>
  target.kind === "ident" ? [target] : target.items.flatMap(namesOf);

/** Where a node stands, and how its author broke lines. */
const places = new Set(["span", "opSpan", "multiline", "oneLine", "newLine", "blankBefore"]);

/** Whether two trees mean the same and have the same comments: all but places is equal. */
export function sameTree(a: unknown, b: unknown): boolean {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return Object.is(a, b);
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const fields = (value: object): string[] => Object.keys(value).filter((key) => !places.has(key));
  const keys = fields(a);
  if (keys.length !== fields(b).length) return false;
  const [left, right] = [a as Record<string, unknown>, b as Record<string, unknown>];
  return keys.every((key) => Object.hasOwn(right, key) && sameTree(left[key], right[key]));
}

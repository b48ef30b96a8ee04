// A file with syntax errors, as far as it can be judged. In: the tree, which has holes, and where the errors are. Out: the
// declarations that are damaged, whose uses say nothing, and which diagnostics of the rest are to be believed. Separate
// because the checker proper knows only that a declaration is to be left alone.
import type { Diagnostic } from "../../../diagnostics/report.ts";
import type { Span } from "../../../diagnostics/span.ts";
import type * as ast from "../../../syntax/ast.ts";

export interface Damage {
  /** Members and top-level declarations that a syntax error lies in; a layer only where it lies in none of its members. */
  readonly nodes: ReadonlySet<object>;
  /** True for a diagnostic that speaks of what is whole. */
  readonly believes: (d: Diagnostic) => boolean;
}

/** Codes of diagnostics about names and what they stand for. */
const NAMES = /^E02|^E0704|^E0907/;
const ARGUMENTS = /^E060[1-4]/;

export function damageOf(tree: ast.SourceFile, source: string, errors: readonly Diagnostic[]): Damage {
  const nodes = new Set<object>();
  const regions: { start: number; end: number }[] = [];
  const lineStart = (at: number): number => source.lastIndexOf("\n", at - 1) + 1;
  const lineEnd = (at: number): number => {
    const end = source.indexOf("\n", at);
    return end < 0 ? source.length : end;
  };
  const around = <T extends { readonly span: Span }>(list: readonly T[], from: number, to: number): T[] =>
    list.filter((n) => lineStart(n.span.start) <= to && from <= lineEnd(n.span.end));
  // Braces that do not match leave no part of the file that is surely what it seems.
  const lost = errors.some((e) => e.code === "E0105" && /[{}]/.test(e.message));
  for (const e of errors) {
    const { start, end } = e.primary.span;
    const region = { start: lineStart(start), end: lineEnd(end) };
    regions.push(region);
    const cover = (n: { readonly span: Span }): void => {
      nodes.add(n);
      region.start = Math.min(region.start, lineStart(n.span.start));
      region.end = Math.max(region.end, lineEnd(n.span.end));
    };
    for (const item of around<ast.Item>(tree.items, region.start, region.end)) {
      const members = "members" in item ? item.members : [];
      const within = around<ast.Member>(members, region.start, region.end);
      if (within.length > 0) within.forEach(cover);
      else cover(item);
    }
  }
  const words = new Set<string>();
  for (const r of regions) for (const w of source.slice(r.start, r.end).match(/\w+/g) ?? []) words.add(w);
  return {
    nodes,
    believes: (d) => {
      const { file, start, end } = d.primary.span;
      if (lost || d.severity !== "error" || file !== tree.span.file) return false;
      if (regions.some((r) => start <= r.end && r.start <= end)) return false;
      // What a damaged line might have declared is not missing for sure: a name must be nearly another, or known elsewhere.
      const name = NAMES.test(d.code);
      if (!name && !ARGUMENTS.test(d.code)) return true;
      if (name && (d.help === undefined || d.code === "E0204")) return false;
      const named = source.slice(start, end).match(/\w+/g) ?? [];
      return !named.some((w) => words.has(w));
    },
  };
}

// Weights that parameters alone decide: computed once by a prepare program, shared by entries.

import type { Block, ExprId, Range } from "../../../../runtime/core/program.ts";
import { asConst, type Dim } from "../../dims/dim.ts";
import { emitBlock } from "./encode.ts";
import { ExprTable } from "./exprs.ts";
import { bufferOf, type Planned, type Store } from "./planned.ts";
/** Derived weights by what they compute, so that entries share them. */
export class DerivedTable {
  readonly units: {
    name: string;
    sources: string[];
    steps: Planned[];
    derived: number[];
  }[] = [];
  bytes = 0;
  /** Bytes that places are multiples of. */
  private readonly alignment: number;
  private readonly byKey = new Map<string, { unit: number; offsets: number[] }>();

  constructor(alignment: number) {
    this.alignment = alignment;
  }

  find(key: string): { unit: number; offsets: number[] } | undefined {
    return this.byKey.get(key);
  }
  reserve(key: string, sizes: readonly Dim[], name: string): { unit: number; offsets: number[] } {
    const offsets = sizes.map((size) => {
      const at = this.bytes;
      this.bytes += Math.ceil((asConst(size) as number) / this.alignment) * this.alignment;
      return at;
    });
    const made = { unit: this.units.length, offsets };
    this.units.push({ name, sources: [], steps: [], derived: [] });
    this.byKey.set(key, made);
    return made;
  }
}

/** The prepare program of a finished derived table. */
export function planDerived(
  table: DerivedTable,
): { name: string; sources: string[]; body: Block; slots: ExprId[]; derived: number[] }[] {
  return table.units.map((u) => {
    const exprs = new ExprTable();
    const range = (t: ExprTable, s: Store): Range => ({
      buffer: bufferOf(s),
      offset: t.id(s.at),
      bytes: t.id(s.bytes),
    });
    return {
      name: u.name,
      sources: u.sources,
      body: emitBlock(u.steps, exprs, range),
      slots: [],
      derived: u.derived,
    };
  });
}

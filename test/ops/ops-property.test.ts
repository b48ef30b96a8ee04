// Calls of operators drawn at random (support/operator-cases.ts): types, lowering against reference, gradients against
// differences. The seed and the counts are printed; `npm run test:long -- operators` runs as many as one likes.
import { expect, it } from "vitest";
import { firstSeed, patient } from "../support/budget.ts";
import { checkDrawn, drawable, drawn, noCounts, textOf } from "../support/operator-cases.ts";

const CASES = 4000;

it("drawn calls of every operator keep their types, their reference and their gradients", () => {
  const seed = firstSeed(1);
  const counts = noCounts();
  const wrong: string[] = [];
  const seen = new Set<string>();
  for (let i = 0; i < CASES * (patient ? 10 : 1) && wrong.length < 5; i++) {
    const d = drawn(seed + i);
    seen.add(d.op.name);
    try {
      checkDrawn(d, counts);
    } catch (e) {
      wrong.push(`${textOf(d)}\n  ${(e as Error).message}`);
    }
  }
  console.log(`operators drawn from seed ${seed}: ${JSON.stringify(counts)}`);
  expect(wrong).toEqual([]);
  expect(drawable.filter((op) => !seen.has(op.name)).map((op) => op.name)).toEqual([]);
  // What the draw is for is in it.
  for (const n of [
    counts.empty,
    counts.scalars,
    counts.special,
    counts.symbols,
    counts.gradients,
    counts.half,
  ])
    expect(n).toBeGreaterThan(CASES / 20);
  expect(counts.stored).toBeGreaterThan(CASES / 100);
}, 120_000);

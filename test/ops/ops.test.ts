// Every operator's worked examples: types, lowering against reference, gradient against finite differences, and the
// gradient of the gradient. Generated from the definitions: an operator without examples fails here.
import { describe, expect, it } from "vitest";
import { allOps } from "../../compiler/core/ops/index.ts";
import { buildCase, checkGradient, checkLowering, checkTypes } from "../support/opcheck.ts";
import { BY_GRADIENT, ELSEWHERE } from "../support/operator-cases.ts";

for (const op of allOps) {
  if (ELSEWHERE.has(op.name)) continue;
  describe(op.name, () => {
    it("is documented, has examples, and a gradient or a reason for none", () => {
      expect(op.doc.length).toBeGreaterThan(0);
      if (!BY_GRADIENT.has(op.name)) expect(op.examples.length).toBeGreaterThan(0);
      expect(op.vjp !== undefined || op.noGrad !== undefined || op.expand !== undefined).toBe(true);
      if (op.fuses === "composite" || op.fuses === "algorithm") expect(op.expand).toBeDefined();
      else expect(op.lower).toBeDefined();
      if (op.fuses !== "composite") expect(op.reference).toBeDefined();
    });
    op.examples.forEach((example, k) => {
      const text = `${example.shapes.map((s) => `[${s.join(", ")}]`).join(", ")} ${JSON.stringify(example.attrs ?? {})}`;
      it(`example ${k + 1}: ${text}`, () => {
        const c = buildCase(op, example, 10 + k);
        checkTypes(op, c);
        checkLowering(c.graph, c.data);
      });
      if (example.grad === false || op.noGrad) return;
      it(`gradient ${k + 1}: ${text}`, () => {
        checkGradient(op, buildCase(op, example, 20 + k), { order: 1 });
      });
      it(`second gradient ${k + 1}: ${text}`, () => {
        checkGradient(op, buildCase(op, example, 30 + k), { order: 2, rtol: 1e-4, atol: 1e-6 });
      });
    });
  });
}

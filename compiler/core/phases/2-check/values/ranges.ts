// Which numbers a dtype holds. In: a static number about to become elements. Out: nothing, or the error with its place.
// Separate because literals, casts, attributes and initial values all become elements.
import type { Span } from "../../../diagnostics/report.ts";
import type { DType } from "../../../ir/types.ts";
import { type Ctx, fail } from "./context.ts";
import { numberText } from "./values.ts";

/** Numbers from which on rounding gives infinity. */
const BEYOND = { f32: 2 ** 128 - 2 ** 103, f16: 65520 };
const LARGEST = { f32: "3.4028235e38", f16: "65504" };

/** Refuses a literal that its dtype cannot hold. Infinity and NaN, written as such, are values of the floats. */
export function checkRange(ctx: Ctx, n: number, dtype: DType, span: Span): void {
  const [a, text] = [dtype === "i32" || dtype === "f32" || dtype === "f16" ? "an" : "a", numberText(n)];
  if (dtype === "f32" || dtype === "f16") {
    if (!Number.isFinite(n) || Math.abs(n) < BEYOND[dtype]) return;
    const written = n < 0 ? "-inf" : "inf";
    fail(ctx, "E0607", `${text} does not fit into ${a} ${dtype}, which ends at ${LARGEST[dtype]}`, span, {
      help: `infinity is written ${written}${dtype === "f16" ? "; f32(…) holds more" : ""}`,
    });
  }
  const [low, high] = dtype === "i32" ? [-2147483648, 2147483647] : [0, 4294967295];
  if (dtype !== "bool" && !(n >= low && n <= high))
    fail(ctx, "E0607", `${text} does not fit into ${a} ${dtype}`, span);
}

// First and second derivatives of random programs (test/support/derivatives.ts), from a seed.
import { expect, it } from "vitest";
import { budget, firstSeed, untilTimeIsUp } from "../support/budget.ts";
import { checkDerivatives } from "../support/derivatives.ts";

it("derivatives of random programs agree with differences, first and second", async () => {
  expect(await untilTimeIsUp(budget(5), firstSeed(1), 60, checkDerivatives)).toBeGreaterThan(5);
}, 600_000);

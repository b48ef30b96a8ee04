// Whatever a host does with a model, each answer is right or a typed error, and comes: programs of calls drawn at random,
// right and wrong ones, with devices lost between and under them, against a model of the model (support/host-fuzz.ts).
import { expect, it } from "vitest";
import { budget, firstSeed, untilTimeIsUp } from "../support/budget.ts";
import { testDevice } from "../support/device.ts";
import { fuzzHost, type Tally } from "../support/host-fuzz.ts";

const SECONDS = budget(8);
const SEED = firstSeed(Date.now() % 1_000_000);

it(
  `answers rightly or with a typed error, in programs from seed ${SEED} on`,
  async (context) => {
    await testDevice(context);
    const tally: Tally = { calls: 0, refused: 0, losses: 0, loads: 0 };
    const rejections: unknown[] = [];
    const note = (reason: unknown): void => void rejections.push(reason);
    process.on("unhandledRejection", note);
    try {
      const programs = await untilTimeIsUp(SECONDS, SEED, 12, (seed) => fuzzHost(seed, tally));
      console.log(
        `${programs} programs: ${tally.calls} calls, ${tally.refused} refused, ${tally.losses} devices lost, ${tally.loads} loads`,
      );
    } finally {
      process.off("unhandledRejection", note);
    }
    expect(rejections).toEqual([]);
  },
  SECONDS * 1000 + 180_000,
);

// How long the tests that draw at random go on. In: the environment (read here only). Out: a number of seconds and seeds.
//   MDL_TEST_SECONDS=600   per suite, instead of each suite's own
//   MDL_TEST_SEED=123      the first seed
//   MDL_FUZZ=10000         mutated programs, instead of a thousand
//   MDL_FUZZ_SEED=2        other ones

const number = (name: string): number | undefined => {
  const text = process.env[name];
  const value = Number(text);
  return text === undefined || text === "" || !Number.isFinite(value) ? undefined : value;
};
/** Seconds a suite may take. */
export const budget = (usual: number): number => number("MDL_TEST_SECONDS") ?? usual;
/** Whether somebody asked for longer runs than usual. */
export const patient = number("MDL_TEST_SECONDS") !== undefined;
export const firstSeed = (usual: number): number => number("MDL_TEST_SEED") ?? usual;

/** Mutated programs to try, and which thousand of them. */
export const mutations = (usual: number): number => number("MDL_FUZZ") ?? usual;
export const mutationSeed = (usual: number): number => number("MDL_FUZZ_SEED") ?? usual;

/** Runs of a suite, however slow the machine: no test fails of that. */
const LEAST = 6;

/**
 * Runs `one` for seed after seed until the time is up, `LEAST` to `most` of them; what it throws is told with its seed.
 * The number of runs is the result.
 */
export async function untilTimeIsUp(
  seconds: number,
  seed: number,
  most: number,
  one: (seed: number) => void | Promise<void>,
): Promise<number> {
  const end = Date.now() + seconds * 1000;
  const limit = patient ? Number.POSITIVE_INFINITY : most;
  let n = 0;
  for (; n < limit && (n < LEAST || Date.now() < end); n++) {
    try {
      await one(seed + n);
    } catch (error) {
      const e = error as Error;
      e.message = `seed ${seed + n} (MDL_TEST_SEED=${seed + n} repeats it): ${e.message}`;
      throw e;
    }
  }
  return n;
}

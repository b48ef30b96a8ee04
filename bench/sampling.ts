// Timing by Benchmark.js. In: an asynchronous call. Out: milliseconds of single calls.
import Benchmark from "benchmark";

export interface SampleOptions {
  /** How long to go on, in seconds; not counting the pauses between calls. */
  readonly seconds: number;
  readonly atLeast: number;
}

/** Samples `call`, one after the other. What it rejects with ends the sampling. */
export function sample(call: () => Promise<unknown>, options: SampleOptions): Promise<number[]> {
  return new Promise((resolve, reject) => {
    const benchmark = new Benchmark({
      defer: true,
      async: true,
      maxTime: options.seconds,
      minSamples: options.atLeast,
      // Every call is a sample, also a short one: medians and extremes are those of calls, not of means of several. The
      // clock (process.hrtime) is a thousand times finer than the shortest call here.
      minTime: 1e-6,
      fn: (deferred: Benchmark.Deferred) => {
        call().then(
          () => deferred.resolve(),
          (error: unknown) => {
            reject(error);
            benchmark.abort();
          },
        );
      },
      onError: () => reject(benchmark.error),
      onComplete: () => resolve((benchmark.stats.sample as number[]).map((seconds) => seconds * 1000)),
    });
    benchmark.run({ async: true });
  });
}

// Batches that are made ahead of the GPU, by threads of their own. In: a Dataset, options. Out: epochs as async iterators. What
// comes is what `batches` gives in one thread, whatever the number of workers.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import {
  type Batch,
  type BatchOptions,
  batchCount,
  makeBatch,
  orderOf,
  type Recipe,
  recipeOf,
} from "../batches.ts";
import { DataError, type Dataset, type Elements, type Plain } from "../dataset.ts";

export interface LoaderOptions extends Omit<BatchOptions, "epoch" | "from"> {
  /** Threads that read and augment; 0 without it: between the steps, in this one. */
  readonly workers?: number;
  /** Batches that are made ahead, by each worker; 2 without it. */
  readonly ahead?: number;
}

/** What goes to a worker. */
export interface Order {
  readonly id: number;
  readonly records: Int32Array;
  readonly epoch: number;
}
export interface Setup {
  readonly plain: Plain;
  readonly recipe: Recipe;
}
export type Answer = { readonly id: number } & (
  | { readonly batch: Batch }
  | { readonly error: string; readonly data: boolean }
);

/** Beside this file, or where the command, which is a bundle, finds it; elsewhere batches are made in this thread. */
const WORKER = ["./worker.js", "../../runtime/data/node/worker.js"]
  .map((place) => new URL(place, import.meta.url))
  .find((url) => url.protocol === "file:" && existsSync(fileURLToPath(url)));

export class Loader {
  readonly data: Dataset;
  readonly options: LoaderOptions;
  /** Batches of an epoch. */
  readonly count: number;
  readonly #recipe: Recipe;
  readonly #workers: Worker[] = [];
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #id = 0;
  #failure: Error | undefined;

  constructor(data: Dataset, options: LoaderOptions) {
    if (!Number.isSafeInteger(options.batch) || options.batch < 1)
      throw new DataError(`a batch has at least one record, given ${options.batch}`);
    this.data = data;
    this.options = options;
    this.count = batchCount(data, options);
    this.#recipe = recipeOf(data, options);
    const workers = options.workers ?? 0;
    if (workers === 0 || WORKER === undefined) return;
    const setup: Setup = { plain: shared(data.plain, new Map()), recipe: this.#recipe };
    // Options of this process (--input-type, --expose-gc) are its own.
    for (let i = 0; i < workers; i++) {
      const worker = new Worker(WORKER, { workerData: setup, execArgv: [] });
      worker.on("message", (answer: Answer) => {
        this.#waiting.get(answer.id)?.(answer);
        this.#waiting.delete(answer.id);
      });
      worker.on("error", (error) => this.#fail(error));
      worker.unref();
      this.#workers.push(worker);
    }
  }

  /** The batches of an epoch, from one of them on. */
  async *epoch(epoch: number, from = 0): AsyncGenerator<Batch, void, undefined> {
    const { batch } = this.options;
    const order = orderOf(this.data, { ...this.options, epoch });
    const records = (i: number): Int32Array => order.slice(i * batch, (i + 1) * batch);
    if (this.#workers.length === 0) {
      for (let i = from; i < this.count; i++) yield makeBatch(this.data, this.#recipe, records(i), epoch);
      return;
    }
    const ahead = this.#workers.length * (this.options.ahead ?? 2);
    const coming: Promise<Batch>[] = [];
    for (let i = from; i < this.count; i++) {
      while (coming.length < ahead && i + coming.length < this.count) {
        const next = this.#ask(records(i + coming.length), epoch);
        next.catch(() => undefined); // told when its turn comes
        coming.push(next);
      }
      yield await (coming.shift() as Promise<Batch>);
    }
  }

  #ask(records: Int32Array, epoch: number): Promise<Batch> {
    const id = this.#id++;
    const worker = this.#workers[id % this.#workers.length];
    return new Promise((resolve, reject) => {
      if (this.#failure) {
        reject(this.#failure);
        return;
      }
      // A thread that is awaited keeps the process; one that is not does not.
      worker.ref();
      this.#waiting.set(id, (answer) => {
        if (this.#waiting.size <= 1) for (const w of this.#workers) w.unref();
        if ("batch" in answer) resolve(answer.batch);
        else reject(answer.data ? new DataError(answer.error) : new Error(answer.error));
      });
      worker.postMessage({ id, records, epoch } satisfies Order);
    });
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const [id, tell] of this.#waiting) tell({ id, error: error.message, data: false });
    this.#waiting.clear();
  }

  /** Ends the threads. */
  async close(): Promise<void> {
    // First, so that no answer that is under way lets go of threads, which keep the process until they have ended.
    this.#fail(new Error("the loader was closed"));
    for (const w of this.#workers) w.ref();
    await Promise.all(this.#workers.map((w) => w.terminate()));
  }
}

/** With arrays in memory that threads share, each once. */
function shared(plain: Plain, known: Map<ArrayBufferLike, SharedArrayBuffer>): Plain {
  if (plain.kind === "subset" || plain.kind === "classes") return { ...plain, of: shared(plain.of, known) };
  if (plain.kind !== "arrays") return plain;
  const columns = Object.fromEntries(
    Object.entries(plain.columns).map(([name, column]) => {
      const { buffer, byteOffset, length } = column.data;
      let memory = known.get(buffer);
      if (!memory) {
        memory = new SharedArrayBuffer(buffer.byteLength);
        new Uint8Array(memory).set(new Uint8Array(buffer));
        known.set(buffer, memory);
      }
      const make = ownClass(column.data);
      return [name, { ...column, data: new make(memory, byteOffset, length) }];
    }),
  );
  return { ...plain, columns };
}

/** A Buffer is a Uint8Array like any other here. */
const ownClass = (
  data: Elements,
): (new (
  memory: SharedArrayBuffer,
  at: number,
  length: number,
) => Elements) => (data instanceof Uint8Array ? Uint8Array : data.constructor) as never;

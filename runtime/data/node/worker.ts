// A thread that makes batches for a Loader. In: the data set and the recipe when it starts, records of a batch in each message.
// Out: the batch, whose memory is handed over.
import { parentPort, workerData } from "node:worker_threads";
import { makeBatch } from "../batches.ts";
import { DataError, revive } from "../dataset.ts";
import type { Answer, Order, Setup } from "./loader.ts";
import { ofPictures } from "./pictures/folder.ts";

const { plain, recipe } = workerData as Setup;
const data = revive(plain, ofPictures);

parentPort?.on("message", ({ id, records, epoch }: Order) => {
  try {
    const batch = makeBatch(data, recipe, records, epoch);
    const memory = Object.values(batch).map((input) => input.data.buffer as ArrayBuffer);
    parentPort?.postMessage({ id, batch } satisfies Answer, memory);
  } catch (error) {
    const answer: Answer = { id, error: (error as Error).message, data: error instanceof DataError };
    parentPort?.postMessage(answer);
  }
});

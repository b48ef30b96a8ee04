// PyTorch on the CPU, where a Python has it: python3 on the PATH, or the one that MDL_BENCH_PYTHON names. The Python process
// (peers/torch_worker.py) belongs to the workload's process; a call is a line to it and a line back, a tenth of a millisecond
// that is in its figures.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { writeSafetensors } from "../../test/support/safetensors.ts";
import { type Prepared, prepared } from "../networks/prepared.ts";
import { root } from "../paths.ts";
import type { Results } from "../reference.ts";
import { STEPS, type WorkloadData } from "../workload.ts";
import type { System } from "./system.ts";

const python = process.env["MDL_BENCH_PYTHON"] ?? "python3";

let found: string | undefined;
/** PyTorch's version, or "" where there is none. */
export function torchVersion(): string {
  if (found === undefined) {
    const asked = spawnSync(python, ["-c", "import torch; print(torch.__version__)"], { encoding: "utf8" });
    found = asked.status === 0 ? asked.stdout.trim() : "";
  }
  return found;
}

export const torchCpu: System = {
  name: "torch-cpu",
  what: "PyTorch on the CPU",
  device: "cpu",
  tolerance: 1e-3,
  lacks: ({ network }) => {
    if (!network) return "it is told workloads of the list only";
    return torchVersion() === ""
      ? `${python} has no torch (MDL_BENCH_PYTHON names another Python)`
      : undefined;
  },
  versions: () => ({ torch: torchVersion() }),

  async prepare(workload, data, { folder }) {
    const session = await TorchSession.start(
      prepared(workload.network!, data.weights, { turned: false }),
      data,
      folder,
      false,
    );
    return async () => {
      await session.ask("open");
      return {
        variant: `${session.threads} threads`,
        call: async () => void (await session.ask("call")),
        results: () => session.results(),
        close: () => session.end(),
      };
    };
  },
};

export class TorchSession {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #file: string;
  threads = 0;

  private constructor(task: string, file: string) {
    this.#file = file;
    this.#child = spawn(python, [join(root, "bench/peers/torch_worker.py"), task], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#lines = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  static async start(
    { network, weights }: Prepared,
    { inputs }: Pick<WorkloadData, "inputs">,
    folder: string,
    double: boolean,
  ): Promise<TorchSession> {
    const at = (name: string): string => join(folder, `torch-${process.pid}${name}`);
    writeFileSync(at(".safetensors"), writeSafetensors(new Map([...weights, ...Object.entries(inputs)])));
    const task = { network, tensors: at(".safetensors"), double, results: at(".bin"), steps: STEPS };
    writeFileSync(at(".json"), JSON.stringify(task));
    const session = new TorchSession(at(".json"), at(".bin"));
    session.threads = (JSON.parse(await session.#line()) as { threads: number }).threads;
    return session;
  }

  async #line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("the Python process ended");
    return value;
  }

  async ask(word: string): Promise<string> {
    this.#child.stdin!.write(`${word}\n`);
    const answer = await this.#line();
    if (answer.startsWith("error ")) throw new Error(answer.slice("error ".length));
    return answer;
  }

  async results(): Promise<Results> {
    const places = JSON.parse(await this.ask("results")) as Record<string, [number, number]>;
    const bytes = readFileSync(this.#file);
    const all = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
    return Object.fromEntries(
      Object.entries(places).map(([name, [at, count]]) => [name, all.subarray(at, at + count)]),
    );
  }

  end(): void {
    this.#child.stdin!.end();
  }
}

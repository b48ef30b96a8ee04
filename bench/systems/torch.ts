// PyTorch on the CPU, and on a CUDA GPU, where a Python has it: python3 on the PATH, or the one that MDL_BENCH_PYTHON names. The
// Python process (peers/torch_worker.py) belongs to the workload's process; a call is a line to it and a line back, a tenth of
// a millisecond that is in its figures.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { writeSafetensors } from "../../test/support/safetensors.ts";
import { type Prepared, prepared } from "../networks/prepared.ts";
import { root } from "../paths.ts";
import type { Results } from "../reference.ts";
import type { GpuTime } from "../statistics.ts";
import { STEPS, type Workload, type WorkloadData } from "../workload.ts";
import { type GpuClockName, HALF_TOLERANCE, type System } from "./system.ts";

const python = process.env["MDL_BENCH_PYTHON"] ?? "python3";

/** What PyTorch says to an expression; "" where there is none. */
const said = new Map<string, string>();
function ask(expression: string): string {
  let answer = said.get(expression);
  if (answer === undefined) {
    const asked = spawnSync(python, ["-c", `import torch; print(${expression})`], { encoding: "utf8" });
    answer = asked.status === 0 ? asked.stdout.trim() : "";
    said.set(expression, answer);
  }
  return answer;
}

/** PyTorch's version, or "" where there is none. */
export const torchVersion = (): string => ask("torch.__version__");
const cudaVersion = (): string => ask("torch.version.cuda if torch.cuda.is_available() else ''");

export interface TorchOptions {
  readonly device: "cpu" | "cuda";
  readonly dtype: "float64" | "float32" | "float16";
}

interface TorchSystem extends TorchOptions, Pick<System, "name" | "what" | "tolerance" | "precision"> {
  lacks(workload: Workload): string | undefined;
}

const torch = ({ name, what, device, dtype, tolerance, precision, lacks }: TorchSystem): System => ({
  name,
  what,
  device,
  installed: false,
  tolerance,
  precision,
  lacks: (workload) => {
    if (!workload.network) return "it is told workloads of the list only";
    if (torchVersion() === "") return `${python} has no torch (MDL_BENCH_PYTHON names another Python)`;
    return lacks(workload);
  },
  versions: () => ({
    torch: torchVersion(),
    ...(device === "cuda" && cudaVersion() !== "" ? { cuda: cudaVersion() } : {}),
  }),

  async prepare(workload, data, { folder }) {
    const model = prepared(workload.network!, data.weights, { turned: false });
    const session = await TorchSession.start(model, data, folder, { device, dtype });
    return async () => {
      await session.ask("open");
      return {
        variant: device === "cpu" ? `${session.threads} threads` : session.gpu,
        call: async () => void (await session.ask("call")),
        results: () => session.results(),
        ...(device === "cuda" ? { gpuTimes: () => session.gpuTimes() } : {}),
        close: () => session.end(),
      };
    };
  },
});

export const torchCpu: System = torch({
  name: "torch-cpu",
  what: "PyTorch on the CPU",
  device: "cpu",
  dtype: "float32",
  tolerance: 1e-3,
  lacks: () => undefined,
});

const lacksCuda = (): string | undefined =>
  cudaVersion() === "" ? `PyTorch ${torchVersion()} of ${python} finds no CUDA GPU` : undefined;

export const torchCuda: System = torch({
  name: "torch-cuda",
  what: "PyTorch on a CUDA GPU, in f32 without TF32",
  device: "cuda",
  dtype: "float32",
  tolerance: 1e-3,
  lacks: lacksCuda,
});

export const torchCudaF16: System = torch({
  name: "torch-cuda-f16",
  what: "PyTorch on a CUDA GPU, weights and activations in f16: less than what others compute",
  device: "cuda",
  dtype: "float16",
  tolerance: HALF_TOLERANCE,
  precision: "f16",
  lacks: ({ training }) => (training ? "it would need a loss scale" : lacksCuda()),
});

export class TorchSession {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #file: string;
  threads = 0;
  /** Its name; "" on the CPU. */
  gpu = "";

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
    how: TorchOptions,
  ): Promise<TorchSession> {
    const at = (name: string): string => join(folder, `torch-${process.pid}${name}`);
    writeFileSync(at(".safetensors"), writeSafetensors(new Map([...weights, ...Object.entries(inputs)])));
    const task = { network, tensors: at(".safetensors"), ...how, results: at(".bin"), steps: STEPS };
    writeFileSync(at(".json"), JSON.stringify(task));
    const session = new TorchSession(at(".json"), at(".bin"));
    Object.assign(session, JSON.parse(await session.#line()) as { threads: number; gpu: string });
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

  async gpuTimes(): Promise<{ gpu: GpuTime[]; gpuBy: GpuClockName }> {
    const { by, milliseconds } = JSON.parse(await this.ask("time")) as {
      by: GpuClockName;
      milliseconds: number[];
    };
    return { gpuBy: by, gpu: milliseconds.map((busy) => ({ busy })) };
  }

  end(): void {
    this.#child.stdin!.end();
  }
}

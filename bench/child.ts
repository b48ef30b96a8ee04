// The main process's end of a worker. In: a task. Out: what it answers. Mesa's shader cache is off in it, so that what it
// does first is a cold start on every machine; later calls are the same with and without.
import { type ChildProcess, spawn } from "node:child_process";
import { dropChatter } from "../runtime/node/index.ts";
import { program, root } from "./paths.ts";
import type { Answer, Opened, Request, Task } from "./protocol.ts";
import type { SampleOptions } from "./sampling.ts";

export const WORKER = "--worker";

export class Child {
  readonly #process: ChildProcess;
  readonly #ended: Promise<string>;

  private constructor(task: Task) {
    this.#process = spawn(process.execPath, [...process.execArgv, program, WORKER, JSON.stringify(task)], {
      cwd: root,
      env: { ...process.env, MESA_SHADER_CACHE_DISABLE: "true" },
      stdio: ["ignore", "inherit", "pipe", "ipc"],
    });
    const { stderr } = this.#process;
    stderr
      ?.setEncoding("utf8")
      .pipe(dropChatter())
      .on("data", (text: string) => void process.stderr.write(text));
    this.#ended = new Promise((resolve) => {
      this.#process.on("error", (error) => resolve(`its process did not start: ${error.message}`));
      // Not "close": that does not come where this side hung up.
      this.#process.on("exit", (code, signal) =>
        resolve(`its process ended with ${signal ?? `code ${code}`}`),
      );
    });
  }

  /** Starts a process; `opened` is what it said after its first calls. */
  static async start(task: Task): Promise<{ child: Child; opened: Opened }> {
    const child = new Child(task);
    const opened = (await child.#next()) as Opened;
    if (opened.kind !== "ready") await child.end();
    return { child, opened };
  }

  async sample(options: SampleOptions): Promise<Answer> {
    const request: Request = { sample: options };
    this.#process.send(request);
    return (await this.#next()) as Answer;
  }

  async #next(): Promise<Opened | Answer> {
    let listener: ((message: unknown) => void) | undefined;
    const message = new Promise<Opened | Answer>((resolve) => {
      listener = (said) => resolve(said as Opened | Answer);
      this.#process.once("message", listener);
    });
    const ended = this.#ended.then((reason): Answer => ({ kind: "failed", reason }));
    return Promise.race([message, ended]);
  }

  async end(): Promise<void> {
    if (this.#process.connected) this.#process.disconnect();
    await this.#ended;
  }
}

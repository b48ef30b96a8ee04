// The main process's end of a worker. In: a task. Out: what it answers. The drivers' shader caches are off in it, so that what
// it does first is a cold start on every machine; later calls are the same with and without.
import { type ChildProcess, spawn } from "node:child_process";
import { dropChatter } from "../runtime/node/index.ts";
import { program, root } from "./paths.ts";
import type { Answer, Opened, Request, Task } from "./protocol.ts";
import type { SampleOptions } from "./sampling.ts";

export const WORKER = "--worker";

/** A system that takes longer over an answer has failed. */
const PATIENCE_MS = 240_000;

export class Child {
  readonly #process: ChildProcess;
  readonly #ended: Promise<string>;
  #said = "";

  private constructor(task: Task) {
    this.#process = spawn(process.execPath, [...process.execArgv, program, WORKER, JSON.stringify(task)], {
      cwd: root,
      env: { ...process.env, MESA_SHADER_CACHE_DISABLE: "true", __GL_SHADER_DISK_CACHE: "0" },
      // What libraries print is nobody's; of what they complain about, the last is told where they end.
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    const { stderr } = this.#process;
    stderr
      ?.setEncoding("utf8")
      .pipe(dropChatter())
      .on("data", (text: string) => {
        this.#said = (this.#said + text).slice(-4000);
      });
    this.#ended = new Promise((resolve) => {
      this.#process.on("error", (error) => resolve(`its process did not start: ${error.message}`));
      // Not "close": that does not come where this side hung up.
      this.#process.on("exit", (code, signal) => resolve(this.#end(signal ?? `code ${code}`)));
    });
  }

  #end(how: string): string {
    const why = /^.*(?:Error|FATAL|Fatal|abort).*$/m.exec(this.#said)?.[0];
    return `its process ended with ${how}${why ? `: ${why.trim()}` : ""}`;
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
    let timer: NodeJS.Timeout | undefined;
    const message = new Promise<Opened | Answer>((resolve) => {
      listener = (said) => resolve(said as Opened | Answer);
      this.#process.once("message", listener);
    });
    const failed = (reason: string): Answer => ({ kind: "failed", reason });
    const late = new Promise<Answer>((resolve) => {
      timer = setTimeout(() => {
        this.#process.kill("SIGKILL");
        resolve(failed(`it took longer than ${PATIENCE_MS / 1000} s`));
      }, PATIENCE_MS);
    });
    const first = await Promise.race([message, this.#ended.then(failed), late]);
    clearTimeout(timer);
    return first;
  }

  async end(): Promise<void> {
    if (this.#process.connected) this.#process.disconnect();
    await this.#ended;
  }
}

// The command line from its sources, in processes of its own. In: arguments. Out: what it printed and its exit code.
import { type SpawnSyncOptions, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import { bundle } from "../../scripts/run-ts.mjs";
import { projectRoot } from "./files.ts";

export interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}
export interface Cli {
  /** The bundled command, for what `run` cannot say: pipes that close, signals. There once the tests run. */
  readonly main: () => string;
  /** A folder of the test file's own, where commands run. */
  readonly folder: string;
  readonly run: (args: readonly string[], options?: Pick<SpawnSyncOptions, "input" | "env">) => Ran;
}

/** To be called at the top of a test file. */
export function testCli(): Cli {
  const folder = mkdtempSync(join(tmpdir(), "mdl-cli-"));
  let main = "";
  beforeAll(async () => {
    main = await bundle("compiler/cli/main.ts");
    // The runtime is bundled, too, which takes a while on a machine that has other things to do.
  }, 60_000);
  afterAll(() => {
    rmSync(main, { force: true });
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    folder,
    main: () => main,
    run: (args, { input, env } = {}) => {
      const child = spawnSync(process.execPath, [main, ...args], {
        cwd: folder,
        input,
        env: { ...process.env, NO_COLOR: "", FORCE_COLOR: "", ...env },
        encoding: "utf8",
        timeout: 100_000,
      });
      return { code: child.status, out: child.stdout, err: child.stderr };
    },
  };
}

export const example = (name: string): string => join(projectRoot, "dsl-examples", `${name}.mdl`);

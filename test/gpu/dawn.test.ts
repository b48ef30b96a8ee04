// Dawn in a user's program: it ends by itself with code 0, and standard error holds what the program wrote and nothing
// else, whatever standard error is.
import { spawnSync } from "node:child_process";
import { closeSync, copyFileSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isSoftwareAdapter, pollPolitely } from "../../runtime/core/dawn.ts";
import { bundle } from "../../scripts/run-ts.mjs";
import { freshDevice, nullDevice, shaderErrors, testDevice } from "../support/device.ts";

let program = "";
let endings: Promise<string> | undefined;
let folder = "";

beforeAll(async () => {
  program = await bundle("test/gpu/programs/double.ts");
  folder = mkdtempSync(join(tmpdir(), "mdl-dawn-"));
});

afterAll(async () => {
  if (endings) rmSync(await endings, { force: true });
  rmSync(program, { force: true });
  rmSync(folder, { recursive: true, force: true });
});

/** Runs a line of shell in which $P is the program; `exec` in it leaves no shell that shares its descriptors. */
function shell(line: string): { status: number | null; stdout: string; stderr: string } {
  const env = { ...process.env, P: `${process.execPath} ${program}`, NO_COLOR: "1" };
  return spawnSync("sh", ["-c", line], { env, encoding: "utf8" });
}

const ours = (text: string): string[] => text.split("\n").filter((line) => /^(before|126|after)$/.test(line));

const hasShell = process.platform !== "win32";

describe("a program that uses Dawn", () => {
  test("ends by itself, with exit code 0 and the right result", async (context) => {
    await testDevice(context);
    const run = spawnSync(process.execPath, [program], { encoding: "utf8" });
    expect(run).toMatchObject({ status: 0, signal: null, stdout: "126\n" });
    // Node gives its children sockets, which cannot be opened again: Dawn's lines may stand between, ours are all there.
    expect(ours(run.stderr)).toEqual(["before", "after"]);
  });

  test.runIf(hasShell)("prints only what is its own into a pipe", async (context) => {
    await testDevice(context);
    expect(shell("$P 2>&1 >/dev/null | cat").stdout).toBe("before\nafter\n");
  });

  test.runIf(hasShell)("prints only what is its own into a terminal", async (context) => {
    await testDevice(context);
    if (shell("script -qec true /dev/null").status !== 0)
      return context.skip("there is no script(1) to make a terminal");
    const run = shell('script -qec "$P" /dev/null');
    expect(run.stdout.replaceAll("\r", "")).toBe("before\n126\nafter\n");
    expect(run.status).toBe(0);
  });

  test.runIf(process.platform === "linux")(
    "prints only what is its own into a terminal that it may not open by its path, as after su",
    async (context) => {
      await testDevice(context);
      const other = "setpriv --reuid=65534 --clear-groups env HOME=/nowhere";
      if (shell(`script -qec "${other} test -r $(echo $P | cut -d' ' -f2)" /dev/null`).status !== 0)
        return context.skip("there is no script(1), or no other user to become");
      const run = shell(`script -qec "${other} $P" /dev/null`);
      // Mesa says that this user has no cache; that is not Dawn's.
      const lines = run.stdout.replaceAll("\r", "").split("\n");
      expect(lines.filter((line) => !/shader cache/.test(line)).join("\n")).toBe("before\n126\nafter\n");
    },
  );

  test.runIf(hasShell)("prints only what is its own after what a file held", async (context) => {
    await testDevice(context);
    const file = join(folder, "appended");
    writeFileSync(file, "earlier\n");
    expect(shell(`$P 2>> "${file}"`)).toMatchObject({ status: 0, stdout: "126\n" });
    expect(readFileSync(file, "utf8")).toBe("earlier\nbefore\nafter\n");
  });

  test.runIf(process.platform === "linux")(
    "prints only what is its own into a file that is its own",
    async (context) => {
      await testDevice(context);
      const file = join(folder, "own");
      expect(shell(`exec $P 2> "${file}"`)).toMatchObject({ status: 0, stdout: "126\n" });
      expect(readFileSync(file, "utf8")).toBe("before\nafter\n");
    },
  );

  test("loses nothing of a file that others write too", async (context) => {
    await testDevice(context);
    const file = join(folder, "shared");
    const fd = openSync(file, "w");
    const runs = [1, 2].map(
      () => spawnSync(process.execPath, [program], { stdio: ["ignore", fd, fd] }).status,
    );
    closeSync(fd);
    expect(runs).toEqual([0, 0]);
    // Dawn's lines may stand between ours here: they cannot be kept out without endangering the file.
    expect(ours(readFileSync(file, "utf8"))).toEqual(["before", "126", "after", "before", "126", "after"]);
  });

  test("is silent as a command, whatever its standard error is", async (context) => {
    await testDevice(context);
    const command = await bundle("test/gpu/programs/quiet-double.ts");
    const file = join(folder, "command");
    const fd = openSync(file, "w"); // shared with this process
    const runs = [
      spawnSync(process.execPath, [command, "a"], { encoding: "utf8" }),
      spawnSync(process.execPath, [command, "b"], { stdio: ["ignore", "pipe", fd], encoding: "utf8" }),
      spawnSync(process.execPath, [command, "fail"], { encoding: "utf8" }),
    ];
    closeSync(fd);
    rmSync(command);
    expect(runs[0]).toMatchObject({ status: 0, stdout: "a\n126\n", stderr: "before\nafter\n" });
    expect(runs[1]).toMatchObject({ status: 0, stdout: "b\n126\n" });
    expect(readFileSync(file, "utf8")).toBe("before\nafter\n");
    expect(runs[2]).toMatchObject({ status: 3, stdout: "", stderr: "no progress…" });
  });

  test("is told how to get Dawn where the package is missing", () => {
    const elsewhere = join(folder, "program.mjs");
    copyFileSync(program, elsewhere);
    const run = spawnSync(process.execPath, [elsewhere], { encoding: "utf8" });
    expect(run.status).toBe(1);
    expect(run.stderr).toMatch(/UnsupportedError: WebGPU in Node needs a package: npm install webgpu/);
  });

  test("shares one instance between the modules of a process", async (context) => {
    await testDevice(context);
    const twice = join(folder, "twice.mjs");
    const url = pathToFileURL(program).href;
    writeFileSync(
      twice,
      `const mdl = Symbol.for("mdl.dawn");
       await import("${url}?1"); const first = await globalThis[mdl];
       await import("${url}?2"); console.log(first === await globalThis[mdl]);`,
    );
    const run = spawnSync(process.execPath, [twice], { encoding: "utf8" });
    expect(run).toMatchObject({ status: 0, stdout: "126\n126\ntrue\n" });
  });
});

test.for([
  ["work under way", 0],
  ["process.exit with a map pending", 7],
  ["exception with a map pending", 1],
  ["mapped", 0],
  ["pipeline under way", 0],
  ["device destroyed", 0],
  ["device collected", 0],
] as const)("Dawn does not abort a program that ends with: %s", async ([ending, status], context) => {
  await testDevice(context);
  endings ??= bundle("test/gpu/programs/ending.ts");
  const args = ["--expose-gc", await endings, ending];
  expect(spawnSync(process.execPath, args, { encoding: "utf8", timeout: 30_000 })).toMatchObject({
    status,
    signal: null,
  });
});

describe("pollPolitely", () => {
  const turnsDuring = async (promise: Promise<unknown>): Promise<number> => {
    let turns = 0;
    let over = false;
    const count = (): void => {
      turns++;
      if (!over) setImmediate(count);
    };
    setImmediate(count);
    await promise;
    over = true;
    return turns;
  };
  const later = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

  test("lets the event loop sleep on a software adapter, and only there", async (context) => {
    const { info } = await testDevice(context);
    const busy = await turnsDuring(later(100));
    const hardware = { isFallbackAdapter: false, architecture: "ampere" } as GPUAdapterInfo;
    const software = { isFallbackAdapter: true, architecture: "software" } as GPUAdapterInfo;
    expect(isSoftwareAdapter(hardware)).toBe(false);
    expect(isSoftwareAdapter(software)).toBe(true);
    expect(await turnsDuring(pollPolitely(later(100), software))).toBeLessThan(busy / 10);
    expect(await turnsDuring(pollPolitely(later(100), hardware))).toBeGreaterThan(busy / 10);
    expect(isSoftwareAdapter(info)).toBe(info.isFallbackAdapter);
  });

  test("passes results and errors through", async (context) => {
    const { info } = await testDevice(context);
    expect(await pollPolitely(Promise.resolve(7), info)).toBe(7);
    await expect(pollPolitely(Promise.reject(new Error("lost")), info)).rejects.toThrow("lost");
  });
});

describe("devices for tests", () => {
  test("a null device validates beside a real one, which goes on working", async (context) => {
    const { device } = await testDevice(context);
    const fresh = await freshDevice(context);
    const none = await nullDevice();
    const wrong = "@compute @workgroup_size(64) fn main() { let x: i32 = 1.5; }";
    const right = "@compute @workgroup_size(64) fn main() { let x: i32 = 1; }";
    for (const each of [none.device, device, fresh.device]) {
      expect(await shaderErrors(each, wrong)).toEqual([
        "1:55 cannot convert value of type 'abstract-float' to type 'i32'",
      ]);
      expect(await shaderErrors(each, right)).toEqual([]);
    }
    fresh.device.destroy();
    expect((await fresh.device.lost).reason).toBe("destroyed");
    expect(await shaderErrors(device, right)).toEqual([]);
  });
});

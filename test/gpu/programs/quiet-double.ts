// double.ts as a command: it runs itself again where that keeps Dawn quiet, and hands on exit code, arguments and output.
import { runAgainQuietly } from "../../../runtime/node/quiet.ts";

const code = await runAgainQuietly();
if (code !== undefined) process.exitCode = code;
else if (process.argv[2] === "fail") {
  process.stderr.write("no progress…");
  process.exitCode = 3;
} else {
  console.log(process.argv[2]);
  await import("./double.ts");
}

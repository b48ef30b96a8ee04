// How soon V8 optimises what `mdl` runs. Left alone, V8's compiler threads spend more processor time on a command of a few
// seconds than its main thread does, on functions that are done soon after; on two cores the main thread waits for them.
// Optimising sixteen times later costs the main thread nothing and leaves a tenth of their work. What runs for minutes is
// optimised within its first second all the same.
import { setFlagsFromString } from "node:v8";

export function optimiseLater(): void {
  const major = Number(process.versions.v8?.split(".")[0]);
  // Sixteen times the default of each. Up to V8 11 (Node 20) a function is optimised by the bytecodes that it has run, from 12
  // on by how often. A version that does not know a flag would say so on standard error: of later ones we know nothing.
  if (major === 11) setFlagsFromString("--interrupt-budget=1081344");
  else if (major === 12 || major === 13) setFlagsFromString("--invocation-count-for-turbofan=48000");
}

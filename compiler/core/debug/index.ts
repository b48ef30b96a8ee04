// What looks inside a model: its values by name, and where NaN comes from.
export {
  alone,
  type DebugEntry,
  debugEntry,
  keeping,
  matches,
  type Watched,
} from "./entry.ts";
export { computed, type Gradient, type GradientEntry, gradientEntry, pushed } from "./gradients.ts";
export { withNotes } from "./notes.ts";
export {
  COUNTS,
  HYPER,
  lookThrough,
  lookThroughStep,
  memberAt,
  type Origin,
  originIn,
  type Replay,
  type StepReplay,
} from "./replay.ts";

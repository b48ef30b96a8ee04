/** What the rest of the compiler needs of diagnostics, in one import. */
export { type Code, type CodeInfo, codes, type Severity } from "./codes.ts";
export { closest, didYouMean } from "./nearest.ts";
export {
  type JsonDiagnostic,
  type JsonPlace,
  type Painter,
  plain,
  printable,
  render,
  renderAll,
  toJSON,
} from "./render.ts";
export {
  cover,
  type Diagnostic,
  type DiagnosticExtra,
  Diagnostics,
  diagnostic,
  InternalError,
  type Label,
  MdlError,
  type Position,
  type Sources,
  type Span,
  span,
} from "./report.ts";
export { LineMap } from "./span.ts";

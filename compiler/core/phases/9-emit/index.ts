// Phase 8: an artefact in, the text of a module and its types out.
export { type EmitOptions, type EmittedModule, emitModule } from "./module.ts";
